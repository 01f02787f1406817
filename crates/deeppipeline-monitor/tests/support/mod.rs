//! A client that says exactly what it is told to.

use deeppipeline_monitor::Dashboard;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Only a server that hangs takes that long.
const WATCHDOG: Duration = Duration::from_secs(60);

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WATCHDOG)).unwrap();
    stream
}

/// Sends these bytes, which ask for an end, and reads until the server has no more to say.
pub(crate) fn send(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    // It may have hung up already.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// Sends these bytes and nothing more, and waits until the server has hung up.
pub(crate) fn send_garbage(address: SocketAddr, bytes: &[u8]) {
    let mut stream = connect(address);
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
}

pub(crate) fn ask(address: SocketAddr, line: &str, headers: &[(&str, &str)]) -> Answer {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let answer = send(address, format!("{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").as_bytes());
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("an answer has a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Asks as a browser on this machine does.
pub(crate) fn get(dashboard: &Dashboard, path: &str) -> Answer {
    let address = dashboard.address();
    ask(address, &format!("GET {path}"), &[("Host", &address.to_string())])
}

/// Opens a stream of events, whose data the returned function reads one by one.
pub(crate) fn events(dashboard: &Dashboard, path: &str) -> impl FnMut() -> Option<String> + use<> {
    let address = dashboard.address();
    let mut stream = connect(address);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines();
    move || lines.by_ref().map_while(Result::ok).find_map(|line| line.strip_prefix("data: ").map(str::to_owned))
}
