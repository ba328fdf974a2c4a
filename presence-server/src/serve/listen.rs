use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted; the kernel's own cap (`net.core.somaxconn`) stands above it.
const BACKLOG: u32 = 4096;

/// Opens a port whose queue holds a burst of clients, as after a restart of what they were connected to.
///
/// `TcpListener::bind` asks for a queue of 128. To a client that finds it full, Linux says that it is connected, and
/// tells the server so only when it tries again, after a second and more.
///
/// # Errors
///
/// The address cannot be listened on.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // So that a restart need not wait for connections that are still closing; on Windows it would let others in.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
