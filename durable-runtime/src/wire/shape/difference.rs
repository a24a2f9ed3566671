//! Says in words what differs between two shapes, of which one came over the network.

use std::collections::HashSet;

use super::outline::{Body, Member, Outline, Type};

/// How many differences are told.
const TOLD_MAX: usize = 4;

/// How many bytes of what a stranger sent are repeated in one name.
const NAME_BYTES_MAX: usize = 64;

/// How deep types are followed.
const DEPTH_MAX: usize = 256;

/// Says what differs between the [text](super::MethodShape::describe) of a method on the caller's side and on the
/// server's: "argument `points`: field `z` of `Point` is only on the server's side". Several
/// differences are told one after the other, with a semicolon between them.
///
/// Either text may be anything at all.
pub fn difference(caller: &str, server: &str) -> String {
    let (caller, server) = match (Outline::read(caller), Outline::read(server)) {
        (Some(caller), Some(server)) => (caller, server),
        (None, _) => return "the caller's description of it cannot be read".to_owned(),
        (_, None) => return "the server's description of it cannot be read".to_owned(),
    };
    let mut comparison = Comparison {
        caller: &caller,
        server: &server,
        compared: HashSet::new(),
        told: Vec::new(),
        subject: String::new(),
        depth: 0,
    };
    comparison.methods();
    let Comparison { told, .. } = comparison;
    if told.is_empty() { "both sides describe it alike".to_owned() } else { told.join("; ") }
}

struct Comparison<'o, 't> {
    caller: &'o Outline<'t>,
    server: &'o Outline<'t>,
    /// Pairs of names of types.
    compared: HashSet<(&'t str, &'t str)>,
    told: Vec<String>,
    /// Which value is being compared.
    subject: String,
    depth: usize,
}

impl<'o, 't> Comparison<'o, 't> {
    fn tell(&mut self, what: &str) {
        if self.told.len() < TOLD_MAX {
            let subject = &self.subject;
            let separator = if subject.is_empty() { "" } else { ": " };
            self.told.push(format!("{subject}{separator}{what}"));
        }
    }

    fn methods(&mut self) {
        let (caller, server) = (self.caller, self.server);
        self.members("argument", "", &caller.arguments, &server.arguments);
        "the reply".clone_into(&mut self.subject);
        self.types(&caller.reply, &server.reply);
        self.subject.clear();
        match (&caller.error, &server.error) {
            (Some(caller), Some(server)) => {
                "the error".clone_into(&mut self.subject);
                self.types(caller, server);
            }
            (Some(_), None) => self.tell("it can fail only on the caller's side"),
            (None, Some(_)) => self.tell("it can fail only on the server's side"),
            (None, None) => {}
        }
    }

    /// Arguments or fields, by their names and in their order.
    fn members(
        &mut self,
        what: &str,
        of: &str,
        caller: &'o [Member<'t>],
        server: &'o [Member<'t>],
    ) {
        let [ours, theirs] = [caller, server].map(|side| side.iter().map(|m| m.name).collect());
        self.names(what, of, &ours, &theirs);
        for member in caller {
            let Some(other) = server.iter().find(|other| other.name == member.name) else {
                continue;
            };
            if what == "argument" {
                self.subject = format!("argument {}", show(member.name));
                self.types(&member.type_, &other.type_);
                self.subject.clear();
            } else {
                self.types_at(
                    &format!("{what} {}{of}", show(member.name)),
                    &member.type_,
                    &other.type_,
                );
            }
        }
    }

    fn names(&mut self, what: &str, of: &str, caller: &Vec<&str>, server: &Vec<&str>) {
        for (names, others, side) in [(caller, server, "caller"), (server, caller, "server")] {
            let others: HashSet<&str> = others.iter().copied().collect();
            for name in names.iter().filter(|name| !others.contains(*name)) {
                self.tell(&format!("{what} {}{of} is only on the {side}'s side", show(name)));
            }
        }
        let mut sorted = [caller.clone(), server.clone()];
        for names in &mut sorted {
            names.sort_unstable();
        }
        if sorted[0] == sorted[1] && caller != server {
            self.tell(&format!("the {what}s{of} stand in another order"));
        }
    }

    /// Types that differ where something has a name: says so there, if nothing inside says it better.
    fn types_at(&mut self, place: &str, caller: &'o Type<'t>, server: &'o Type<'t>) {
        let subject = self.subject.clone();
        if let Some(kinds) = self.kinds(caller, server) {
            self.tell(&format!("{place} {kinds}"));
        } else {
            self.types(caller, server);
        }
        self.subject = subject;
    }

    /// How two types differ at first sight.
    fn kinds(&self, caller: &Type<'t>, server: &Type<'t>) -> Option<String> {
        let are_alike = match (caller, server) {
            (Type::Named(caller), Type::Named(server)) => {
                let types = (self.caller.types.get(caller), self.server.types.get(server));
                caller == server
                    || matches!(types, (Some(ours), Some(theirs)) if same_kind(ours, theirs) && base(caller) == base(server))
            }
            (Type::Anonymous(caller, ours), Type::Anonymous(server, theirs)) => {
                caller == server && ours.len() == theirs.len()
            }
            (Type::SelfDescribing(caller), Type::SelfDescribing(server)) => caller == server,
            _ => false,
        };
        let sides = || {
            let (caller, server) = (name(caller), name(server));
            if caller == server {
                format!("is {caller} of another kind on the server's side")
            } else {
                format!("is {caller} on the caller's side and {server} on the server's")
            }
        };
        (!are_alike).then(sides)
    }

    fn types(&mut self, caller: &'o Type<'t>, server: &'o Type<'t>) {
        if self.depth >= DEPTH_MAX || self.told.len() >= TOLD_MAX {
            return;
        }
        if let Some(kinds) = self.kinds(caller, server) {
            // "the reply: is `u32` ..." reads better without the colon.
            let subject = std::mem::take(&mut self.subject);
            self.tell(&format!("{subject} {kinds}"));
            self.subject = subject;
            return;
        }
        self.depth += 1;
        match (caller, server) {
            (Type::Named(ours), Type::Named(theirs)) if self.compared.insert((*ours, *theirs)) => {
                let (caller, server) = (self.caller, self.server);
                if let (Some(body), Some(other)) =
                    (caller.types.get(ours), server.types.get(theirs))
                {
                    self.bodies(&format!(" of {}", show(ours)), body, other);
                }
            }
            (Type::Anonymous(_, ours), Type::Anonymous(_, theirs)) => {
                for (ours, theirs) in ours.iter().zip(theirs) {
                    self.types(ours, theirs);
                }
            }
            _ => {}
        }
        self.depth -= 1;
    }

    fn bodies(&mut self, of: &str, caller: &'o Body<'t>, server: &'o Body<'t>) {
        match (caller, server) {
            (Body::Fields(caller), Body::Fields(server)) => {
                self.members("field", of, caller, server);
            }
            (Body::Tuple(caller), Body::Tuple(server)) => {
                if caller.len() != server.len() {
                    let (ours, theirs) = (caller.len(), server.len());
                    self.tell(&format!("the number of elements{of} is {ours} on the caller's side and {theirs} on the server's"));
                }
                for (place, (caller, server)) in caller.iter().zip(server).enumerate() {
                    self.types_at(&format!("element {place}{of}"), caller, server);
                }
            }
            (Body::Variants(caller), Body::Variants(server)) => self.variants(of, caller, server),
            (Body::Unit, Body::Unit) => {}
            _ => self.tell(&format!("the kind{of} is another on the server's side")),
        }
    }

    fn variants(
        &mut self,
        of: &str,
        caller: &'o [(&'t str, Body<'t>)],
        server: &'o [(&'t str, Body<'t>)],
    ) {
        let [ours, theirs] =
            [caller, server].map(|side| side.iter().map(|(name, _)| *name).collect());
        self.names("variant", of, &ours, &theirs);
        for (name, body) in caller {
            if let Some((_, other)) = server.iter().find(|(other, _)| other == name) {
                let of = format!(" of variant {}{of}", show(name));
                if same_kind(body, other) {
                    self.bodies(&of, body, other);
                } else {
                    self.tell(&format!("the kind{of} is another on the server's side"));
                }
            }
        }
    }
}

fn same_kind(one: &Body<'_>, other: &Body<'_>) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// A type's name without its number.
fn base(name: &str) -> &str {
    name.rsplit_once('#').map_or(name, |(base, _)| base)
}

fn name(type_: &Type<'_>) -> String {
    match type_ {
        Type::Named(name) => show(name),
        Type::Anonymous(what, _) => (*what).to_owned(),
        Type::SelfDescribing(name) => format!("{} (self-describing)", show(name.trim_matches('"'))),
    }
}

/// A name that the other side may have made up.
fn show(name: &str) -> String {
    let end = (0..=NAME_BYTES_MAX.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
    let shown = &name[..end.unwrap_or(0)];
    let dots = if shown.len() < name.len() { ".." } else { "" };
    format!("`{shown}{dots}`")
}
