//! A server in a network of its own: connections go in to it, and none come out.

use crate::harness::Trial;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn a_server_in_a_network_of_its_own_is_reached_and_reaches_nobody() {
    // The server listens where somebody of the machine does, and then tries to reach another one.
    let [same, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [at, away] = [&same, &other].map(|listener| listener.local_addr().unwrap());
    let script = format!(
        "import socket\nserver = socket.create_server(('127.0.0.1', {}))\nmet, _ = server.accept()\n\
         met.sendall(met.recv(5))\ntry: socket.create_connection(('127.0.0.1', {}), 600); said = 'left'\n\
         except ConnectionRefusedError: said = 'nobody'\nopen('said', 'w').write(said)\n",
        at.port(),
        away.port()
    );
    let trial = Trial::program(["/usr/bin/python3", "-c", &script]);
    let trial =
        trial.policy("name = \"t\"\n[network]\ndefault = \"allow\"\n[egress]\ndefault = \"deny\"\nrules = []\n");
    let running = trial.start();
    let network = running.network().expect("a network of its own");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let heard = runtime.block_on(async {
        let mut met = loop {
            match network.connect(at).await {
                Ok(met) => break met,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        met.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        met.read_exact(&mut heard).await.unwrap();
        heard
    });
    running.wait();
    assert_eq!((&heard, trial.read("said").as_str()), (b"hello", "nobody"));
    let gone = runtime.block_on(network.connect(at)).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::BrokenPipe, "{gone}");
    for listener in [same, other] {
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody came");
    }
}

#[test]
fn an_agent_in_the_machines_network_has_none_of_its_own() {
    let running = Trial::shell("exit 0").start();
    assert!(running.network().is_none());
    running.wait();
}
