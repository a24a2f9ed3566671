#[durable_object(name = "room", renamed_from = "ChatRoom")]
impl ChatRoom {
    fn new(ctx: &Context<Self>) -> Result<Self> {
        ChatRoom::load(ctx)
    }

    #[migration(1)]
    fn create_posts(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(schema::POSTS)
    }

    #[migration(2, checksum = "cbf29ce484222325")]
    fn nothing(db: &mut Migration<'_>) -> Result<()> {}

    /// Posts `text` and gives its number.
    #[must_use]
    pub fn post(&mut self, ctx: &Context<Self>, author: &Author, text: &str) -> Result<u64, PostError> {
        self.posts += 1;
        ctx.wait_until(notify(ctx.handle(), text.to_owned()));
        Ok(self.posts)
    }

    #[cfg(feature = "search")]
    #[deprecated = "use the index"]
    pub(crate) fn find(&self, words: &[String], r#type: Option<Kind>) -> Vec<Post> {
        self.search(words, r#type)
    }

    pub fn members(&self) -> Vec<Self> {
        Vec::new()
    }

    async fn fetch(this: Handle<Self>, request: Request) -> Result<Response> {
        this.turn(|room, ctx| room.page(ctx)).await
    }

    fn websocket_message(&mut self, ctx: &Context<Self>, socket: WebSocket, message: Message) -> Result<()> {
        ctx.broadcast(&message)
    }

    fn page(&self, ctx: &Context) -> Result<Response> {
        render(self)
    }
}
