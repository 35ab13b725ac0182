//! The client for tests of programs.

use crate::host::quick;
use crate::rig::single;
use steadfast::client::{ConnectError, Ending};
use steadfast::proto::session::MessageKind;
use steadfast::server::{
    CloseCode, Config, Handle, Handler, Hook, Message, Peer, Refused, Request, Server, StatusCode,
};
use steadfast::testing::{TestClient, TestError};

/// Greets by subprotocol, sends messages back, and closes when told to.
struct Greeter;

impl Handler for Greeter {
    fn opened(&mut self, peer: &mut Peer, request: &Request) {
        let greeting = format!("{} {:?}", request.target(), request.cookie("session"));
        peer.send(&greeting);
    }

    fn message(&mut self, peer: &mut Peer, message: Message) {
        match message.text() {
            Some("close") => peer.close(CloseCode::POLICY, "as you say"),
            Some("abort") => peer.abort(),
            _ => drop(peer.send(message)),
        }
    }
}

fn serve(config: Config, endpoint: &str) -> Handle {
    let hook = Hook::new(|request, _| match request.query("refuse") {
        Some(_) => Err(Refused::new(StatusCode::FORBIDDEN, "no")),
        None => Ok(()),
    });
    let server = Server::from(Config { hook: Some(hook), ..config }).listen(endpoint).expect("an endpoint");
    server.route("/greet", || Greeter).spawn().expect("a server")
}

fn end(server: &Handle) {
    server.stop();
    server.join().expect("it ends");
}

#[test]
fn client_sends_receives_and_closes() -> Result<(), TestError> {
    for endpoint in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
        let server = serve(single(), endpoint);
        let mut client = TestClient::connect(&server, "/greet?a=b")?;
        assert_eq!(client.text()?, "/greet?a=b None", "{endpoint}");
        client.send("hello")?;
        client.send(&[0xff, 0][..])?;
        assert_eq!(client.text()?, "hello");
        assert_eq!(client.receive()?, (MessageKind::Binary, vec![0xff, 0]));
        client.close()?;
        end(&server);
    }
    Ok(())
}

#[test]
fn client_tells_how_a_connection_ended_and_what_came_instead() -> Result<(), TestError> {
    let server = serve(quick(), "127.0.0.1:0");
    let with_cookie = |config: &mut steadfast::client::Config| config.fields.push("Cookie: session=sesame".into());
    let mut client = TestClient::connect_with(&server, "/greet", with_cookie)?;
    let unexpected = client.closed().expect_err("a message came first");
    assert!(matches!(unexpected, TestError::Unexpected(MessageKind::Text, text) if text == b"/greet Some(\"sesame\")"));
    client.send(&b"bytes"[..])?;
    assert!(matches!(client.text(), Err(TestError::Unexpected(MessageKind::Binary, bytes)) if bytes == b"bytes"));
    client.send("close")?;
    assert_eq!(client.closed()?, (CloseCode::POLICY.into(), "as you say".to_owned()));
    let is_by_peer = |error: &TestError| matches!(error, TestError::Ended(Ending::ByPeer { .. }));
    assert!(client.send("late").is_err_and(|error| is_by_peer(&error)));
    let mut aborted = TestClient::connect(&server, "/greet")?;
    aborted.text()?;
    aborted.send("abort")?;
    assert!(matches!(aborted.text(), Err(TestError::Ended(Ending::Abnormal(_)))));
    end(&server);
    Ok(())
}

#[test]
fn client_that_cannot_connect_says_why() {
    let server = serve(quick(), "127.0.0.1:0");
    let refused = TestClient::connect(&server, "/greet?refuse").expect_err("it is refused");
    assert!(matches!(&refused, TestError::Connect(ConnectError::Refused(refused)) if refused.status == 403));
    assert!(std::error::Error::source(&refused).is_some());
    assert!(matches!(TestClient::connect(&server, "/a b"), Err(TestError::Url(_))));
    end(&server);
    let server = serve(quick(), &format!("unix:@steadfast-testing-{}", std::process::id()));
    assert!(matches!(TestClient::connect(&server, "/greet"), Err(TestError::NoAddress)));
    end(&server);
}
