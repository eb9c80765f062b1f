//! `/v1/websocket`: the handshake, then messages between the client and the model.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use futures::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Utf8Bytes,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    body::{Body, json, response},
    calls::{Call, CallError, Message},
    status::InFlight,
    truss::call_error,
};

/// The largest message, either way.
const MESSAGE_LIMIT: usize = 100 << 20;

/// How long each side has to take leave when the other has closed.
const FAREWELL: Duration = Duration::from_secs(10);

const NORMAL: u16 = 1000;

/// Stands for a close without a code.
const NO_CODE: u16 = 1005;

/// Stands for a connection that ended without a close.
const LOST: u16 = 1006;

/// Close code for a failure on our side.
const SERVER_ERROR: u16 = 1011;

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Accepts the handshake and lets the two talk in the background.
pub async fn open<B: 'static>(
    request: Request<B>,
    in_flight: InFlight,
    call: impl Future<Output = Result<Call, CallError>>,
) -> Response<Body> {
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        return json(StatusCode::BAD_REQUEST, r#"{"error":"the websocket handshake lacks its key"}"#);
    };
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).expect("base64 is a header value");
    let call = match call.await {
        Ok(call) => call,
        Err(error) => return call_error(error),
    };
    tokio::task::spawn_local(async move {
        let _in_flight = in_flight;
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let config =
                WebSocketConfig::default().max_message_size(Some(MESSAGE_LIMIT)).max_frame_size(Some(MESSAGE_LIMIT));
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
            converse(socket, call).await;
        }
    });
    let mut answer = response(StatusCode::SWITCHING_PROTOCOLS, Body::whole(Bytes::new()));
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

/// Which side ended the conversation, with code and reason.
enum End {
    Client(u16, Bytes),
    Model(u16, Bytes),
    /// A message of the client was over the limit.
    TooBig,
}

/// Carries messages until one side closes. A client that leaves takes its call with it.
async fn converse(socket: Socket, call: Call) {
    let (mut to_client, mut from_client) = socket.split();
    // Each way waits for its own reader alone: two sides that both send before they read would otherwise wait for ever.
    let end = tokio::select! {
        end = carry_to_model(&mut from_client, &call) => end,
        end = carry_to_client(&call, &mut to_client) => end,
    };
    let mut socket = from_client.reunite(to_client).expect("both are halves of this socket");
    let farewell = async {
        match end {
            End::Model(code, reason) => close(&mut socket, code, &reason).await,
            End::Client(code, reason) => {
                tokio::join!(dismiss(&call, code, reason), read_out(&mut socket));
            }
            End::TooBig => {
                let code = CloseCode::Size.into();
                tokio::join!(dismiss(&call, code, Bytes::new()), close(&mut socket, code, b"the message is too big"));
            }
        }
    };
    // Whoever does not take leave in time is left.
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

async fn carry_to_model(client: &mut SplitStream<Socket>, call: &Call) -> End {
    loop {
        let message = match client.next().await {
            Some(Ok(tungstenite::Message::Text(text))) => Message::Text(text.into()),
            Some(Ok(tungstenite::Message::Binary(bytes))) => Message::Binary(bytes),
            Some(Ok(tungstenite::Message::Close(Some(frame)))) => {
                return End::Client(frame.code.into(), frame.reason.into());
            }
            Some(Ok(tungstenite::Message::Close(None))) => return End::Client(NO_CODE, Bytes::new()),
            Some(Ok(_)) => continue,
            Some(Err(tungstenite::Error::Capacity(_))) => return End::TooBig,
            Some(Err(_)) | None => return End::Client(LOST, Bytes::new()),
        };
        if call.send(message).await.is_err() {
            // The call is over, and what it said last tells how.
            std::future::pending::<()>().await;
        }
    }
}

async fn carry_to_client(call: &Call, client: &mut SplitSink<Socket, tungstenite::Message>) -> End {
    loop {
        let message = match call.message().await {
            Ok(Some(Message::Text(text))) => match Utf8Bytes::try_from(text) {
                Ok(text) => tungstenite::Message::Text(text),
                Err(_) => continue,
            },
            Ok(Some(Message::Binary(bytes))) => tungstenite::Message::Binary(bytes),
            Ok(Some(Message::Close(code, reason))) => return End::Model(code, reason),
            Ok(None) => return End::Model(NORMAL, Bytes::new()),
            Err(_) => return End::Model(SERVER_ERROR, Bytes::from_static(b"the model process is gone")),
        };
        if client.send(message).await.is_err() {
            return End::Client(LOST, Bytes::new());
        }
    }
}

/// Tells the model that its client is gone and waits for its end. What it still says has no reader.
async fn dismiss(call: &Call, code: u16, reason: Bytes) {
    if call.send(Message::Close(code, reason)).await.is_ok() {
        while let Ok(Some(_)) = call.message().await {}
    }
}

/// Closes our side and waits until the client has seen it.
async fn close(socket: &mut Socket, code: u16, reason: &[u8]) {
    let reason = String::from_utf8_lossy(reason);
    let frame = CloseFrame { code: code.into(), reason: reason.as_ref().into() };
    if socket.close(Some(frame)).await.is_ok() {
        read_out(socket).await;
    }
}

/// Reads to the end; the reply to a close goes out on the way.
async fn read_out(socket: &mut Socket) {
    while let Some(Ok(_)) = socket.next().await {}
}
