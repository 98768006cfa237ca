//! The echo and HTTP servers on tokio's runtime of one thread.
//!
//! How it works: `echo_tokio echo|http`.  A task for each connection reads into a buffer of its own
//! and writes all.  The buffer is larger than a request, so that a read that leaves room tells
//! tokio that the socket is empty.  HTTP requests end with an empty line; the answer is a constant.
use std::io::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const BUFFER: usize = 2048; // more than a request of 1 KiB
const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 13\r\n\
    \r\n\
    Hello, ferry\n";

async fn echo(mut stream: TcpStream) -> Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        let size = stream.read(&mut buffer).await?;
        if size == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..size]).await?;
    }
}

/// How many requests end in these bytes; `line` counts the bytes of the line so far.
fn requests(line: &mut usize, data: &[u8]) -> usize {
    let mut count = 0;
    let mut pieces = data.split(|byte| *byte == b'\n').peekable();
    while let Some(piece) = pieces.next() {
        *line += piece.len();
        if pieces.peek().is_some() {
            count += (*line == 1) as usize; // the carriage return
            *line = 0;
        }
    }
    count
}

async fn pages(mut stream: TcpStream) -> Result<()> {
    let mut buffer = [0; BUFFER];
    let mut line = 0;
    loop {
        let size = stream.read(&mut buffer).await?;
        if size == 0 {
            return Ok(());
        }
        for _ in 0..requests(&mut line, &buffer[..size]) {
            stream.write_all(PAGE).await?;
        }
    }
}

async fn serve(http: bool) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{} {}", listener.local_addr()?.port(), std::process::id());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        if http {
            tokio::spawn(pages(stream));
        } else {
            tokio::spawn(echo(stream));
        }
    }
}

fn main() -> Result<()> {
    let form = std::env::args().nth(1).unwrap_or_default();
    if form != "echo" && form != "http" {
        eprintln!("usage: echo_tokio echo|http");
        std::process::exit(2);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(serve(form == "http"))
}
