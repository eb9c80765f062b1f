//! `/v1/websocket`: the handshake, then messages between the client and the model.

use std::future::Future;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
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

/// Close code for a failure on our side.
const SERVER_ERROR: u16 = 1011;

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Accepts the handshake and lets the two talk in the background.
pub async fn open(
    request: Request<Incoming>,
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

/// Carries messages until one side closes. A client that leaves takes its call with it.
async fn converse(mut socket: Socket, mut call: Call) {
    loop {
        tokio::select! {
            message = call.message() => {
                let (code, reason) = match message {
                    Ok(Some(Message::Text(text))) => {
                        let Ok(text) = Utf8Bytes::try_from(text) else { continue };
                        if socket.send(tungstenite::Message::Text(text)).await.is_err() { return }
                        continue;
                    }
                    Ok(Some(Message::Binary(bytes))) => {
                        if socket.send(tungstenite::Message::Binary(bytes)).await.is_err() { return }
                        continue;
                    }
                    Ok(Some(Message::Close(code, reason))) => (code, reason),
                    Ok(None) => (1000, Bytes::new()),
                    Err(_) => (SERVER_ERROR, Bytes::from_static(b"the model process is gone")),
                };
                close(&mut socket, code, &reason).await;
                return;
            }
            received = socket.next() => {
                let message = match received {
                    Some(Ok(tungstenite::Message::Text(text))) => Message::Text(text.into()),
                    Some(Ok(tungstenite::Message::Binary(bytes))) => Message::Binary(bytes),
                    Some(Ok(tungstenite::Message::Close(frame))) => {
                        let (code, reason) = frame.map_or((1005, Bytes::new()), |frame| (frame.code.into(), frame.reason.into()));
                        Message::Close(code, reason)
                    }
                    Some(Ok(_)) => continue,
                    Some(Err(tungstenite::Error::Capacity(_))) => {
                        close(&mut socket, CloseCode::Size.into(), b"the message is too big").await;
                        Message::Close(CloseCode::Size.into(), Bytes::new())
                    }
                    Some(Err(_)) | None => Message::Close(1006, Bytes::new()),
                };
                let is_last = matches!(message, Message::Close(..));
                if call.send(message).await.is_err() || is_last {
                    // The model hears of the close and ends by itself; what it still says has no reader.
                    while let Ok(Some(_)) = call.message().await {}
                    return;
                }
            }
        }
    }
}

/// Closes our side and waits until the client has seen it.
async fn close(socket: &mut Socket, code: u16, reason: &[u8]) {
    let reason = String::from_utf8_lossy(reason);
    let frame = CloseFrame { code: code.into(), reason: reason.as_ref().into() };
    if socket.close(Some(frame)).await.is_ok() {
        while let Some(Ok(_)) = socket.next().await {}
    }
}
