//! A connection to a server that a test can cut.

use std::io::copy;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// A port of this machine that leads to another, until it is cut.
pub struct Link {
    /// The port.
    pub port: u16,
    to: u16,
    is_cut: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

impl Link {
    /// A link to a port of this machine.
    pub fn to(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut link = Self {
            port: listener.local_addr().unwrap().port(),
            to,
            is_cut: Arc::default(),
            serving: None,
        };
        link.serve(listener);
        link
    }

    fn serve(&mut self, listener: TcpListener) {
        let (to, is_cut) = (self.to, Arc::clone(&self.is_cut));
        self.serving = Some(thread::spawn(move || {
            for client in listener.incoming() {
                if is_cut.load(Ordering::SeqCst) {
                    return;
                }
                if let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", to))) {
                    join(client, server);
                }
            }
        }));
    }

    /// Nobody answers at the port any more.
    pub fn cut(&mut self) {
        self.is_cut.store(true, Ordering::SeqCst);
        // Wakes the thread, which then lets go of the port.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(serving) = self.serving.take() {
            serving.join().unwrap();
        }
    }

    /// The server answers again.
    pub fn mend(&mut self) {
        self.is_cut.store(false, Ordering::SeqCst);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        self.serve(listener);
    }
}

/// Passes everything on in both directions.
fn join(client: TcpStream, server: TcpStream) {
    let pass = |from: &TcpStream, to: &TcpStream| {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        thread::spawn(move || {
            let _ = copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    };
    pass(&client, &server);
    pass(&server, &client);
}
