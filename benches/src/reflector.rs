//! The least a controller can do: it greets, asks who is there, answers echoes, and sends every packet that it is shown
//! back out of all ports. It decides nothing and remembers nothing; what it costs is the cost of sockets and framing.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::SocketAddr,
};

use anyhow::Context as _;
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use rust_openflow::{Framer, Header, Hello, Message, MessageType, PortNo};

const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    framer: Framer,
    out: Vec<u8>,
}

/// Serves switches until it is killed; says where it listens on standard output.
///
/// # Errors
/// The address cannot be listened on.
pub fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address).with_context(|| address.to_string())?;
    let registry = poll.registry();
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on {}", listener.local_addr()?);
    let mut connections = BTreeMap::new();
    let mut events = Events::with_capacity(1_024);
    let mut buffer = vec![0; 64 << 10];
    let mut next = 0;
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry()
                        .register(&mut stream, Token(next), interest)?;
                    connections.insert(Token(next), Connection::new(stream)?);
                    next += 1;
                }
            } else if let Some(connection) = connections.get_mut(&event.token())
                && connection.serve(&mut buffer).is_err()
            {
                connections.remove(&event.token());
            }
        }
    }
}

impl Connection {
    fn new(stream: TcpStream) -> anyhow::Result<Self> {
        let mut out = Vec::new();
        Message::Hello(Hello::v1_3()).encode(1, &mut out)?;
        Message::FeaturesRequest.encode(2, &mut out)?;
        Ok(Self {
            stream,
            framer: Framer::new(),
            out,
        })
    }

    fn serve(&mut self, buffer: &mut [u8]) -> anyhow::Result<()> {
        self.flush()?;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => anyhow::bail!("closed"),
                Ok(count) => self.framer.push(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            while let Some(frame) = self.framer.next_frame()? {
                match Header::decode(frame)?.kind {
                    MessageType::PACKET_IN => reflect(frame, &mut self.out),
                    MessageType::ECHO_REQUEST => {
                        let start = self.out.len();
                        self.out.extend_from_slice(frame);
                        if let Some(kind) = self.out.get_mut(start + 1) {
                            *kind = MessageType::ECHO_REPLY.0;
                        }
                    }
                    _ => {}
                }
            }
            self.flush()?;
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut written = 0;
        while let Some(rest) = self.out.get(written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.out.drain(..written);
        Ok(())
    }
}

/// `ofp_packet_out` for an `ofp_packet_in` whose match is the port alone, as all of the load generator's are.
fn reflect(packet_in: &[u8], out: &mut Vec<u8>) {
    const IN_PORT: std::ops::Range<usize> = 32..36;
    const FRAME: usize = 42;
    let (Some(port), Some(frame)) = (packet_in.get(IN_PORT), packet_in.get(FRAME..)) else {
        return;
    };
    let length = (40 + frame.len()) as u16;
    let [length_high, length_low] = length.to_be_bytes();
    out.extend([
        4,
        MessageType::PACKET_OUT.0,
        length_high,
        length_low,
        0,
        0,
        0,
        3,
    ]);
    out.extend([0xff; 4]); // no buffer
    out.extend_from_slice(port);
    out.extend([0, 16, 0, 0, 0, 0, 0, 0]); // 16 bytes of actions
    out.extend([0, 0, 0, 16]); // output
    out.extend(PortNo::FLOOD.0.to_be_bytes());
    out.extend([0; 8]);
    out.extend_from_slice(frame);
}
