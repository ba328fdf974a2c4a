//! One room of socketioxide: what a member publishes goes to everybody in it.

use std::io;

use axum::{Router, serve::ListenerExt};
use socketioxide::{
    SocketIo,
    extract::{Data, SocketRef},
};

// As our server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve())
}

async fn serve() -> io::Result<()> {
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", async |socket: SocketRef| {
        socket.join("room");
        socket.on("pub", async |socket: SocketRef, Data::<String>(said)| {
            // Whoever cannot be told is on its way out.
            let _ = socket.within("room").emit("msg", &said).await;
        });
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, Router::new().layer(layer)).await
}
