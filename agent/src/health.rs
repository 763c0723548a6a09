//! `/liveness` and `/readiness` over HTTP, as Felix serves them: 204 when all is well, else 503 and why.
//!
//! It answers what it was last told and judges nothing; that it answers at all is what there is to say of liveness,
//! since it runs on the loop's thread. Where it listens may change while it runs.

use crate::config::HealthAddress;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, body::Bytes, header, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};

/// A client that does not send its request in this time is sent away.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections at one time. Probes come one by one; more is somebody's mistake, and waits.
const CONNECTIONS_MAX: usize = 16;
/// How long to wait before another attempt at an address that cannot be listened on.
const LISTEN_RETRY: Duration = Duration::from_secs(10);

/// What is missing before policy is enforced, in words, and `None` once it is; cheap to clone, and told from anywhere.
#[derive(Clone, Debug)]
pub struct Health(Arc<RwLock<Option<String>>>);

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Some("starting".to_owned()))))
    }
}

impl Health {
    /// Replaces what is missing.
    pub fn set(&self, not_ready: Option<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = not_ready;
    }

    /// What is missing now.
    pub fn not_ready(&self) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here");
        }
        let reason = match request.uri().path() {
            "/liveness" => None,
            "/readiness" => self.not_ready(),
            _ => return text(StatusCode::NOT_FOUND, "there are /liveness and /readiness"),
        };
        match reason {
            None => {
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, &reason),
        }
    }
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{text}\n")));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// Serves where `address` says, and nowhere while it says `None`; moves when it changes. Returns when the sender of
/// `address` is gone.
///
/// An address that cannot be listened on is logged, and tried again; it is no reason to stop enforcing.
pub async fn serve(health: Health, mut address: watch::Receiver<Option<HealthAddress>>) {
    loop {
        let wanted = address.borrow_and_update().clone();
        let serving = async {
            match &wanted {
                Some(wanted) => serve_at(&health, wanted).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = serving => {}
            changed = address.changed() => if changed.is_err() { return },
        }
    }
}

async fn serve_at(health: &Health, address: &HealthAddress) {
    let HealthAddress { host, port } = address;
    let mut last = String::new();
    let listener = loop {
        match TcpListener::bind((host.as_str(), *port)).await {
            Ok(listener) => break listener,
            Err(error) => {
                let error = error.to_string();
                if error != last {
                    tracing::error!(%host, port, %error, "cannot serve health: see HealthHost and HealthPort");
                    last = error;
                }
                tokio::time::sleep(LISTEN_RETRY).await;
            }
        }
    };
    tracing::info!(%host, port, "serving health");
    accept(health, &listener).await;
}

async fn accept(health: &Health, listener: &TcpListener) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = connections.clone().acquire_owned().await.expect("the semaphore is never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Most often too many open files: waiting is all that helps.
                tracing::debug!(%error, "cannot accept a connection for health");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let health = health.clone();
        tokio::spawn(async move {
            // A probe that hangs up is its own business.
            let _ = answer_all(health, stream).await;
            drop(permit);
        });
    }
}

async fn answer_all(health: Health, stream: TcpStream) -> Result<(), hyper::Error> {
    let service = service_fn(move |request| {
        let response = health.answer(&request);
        async move { Ok::<_, io::Error>(response) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// The status line and the body.
    async fn get(port: u16, request: &str) -> (String, String) {
        let connecting = async {
            loop {
                match TcpStream::connect(("127.0.0.1", port)).await {
                    Ok(stream) => break stream,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let mut stream =
            tokio::time::timeout(Duration::from_secs(60), connecting).await.expect("it is served in time");
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("HTTP");
        let status = head.split(' ').nth(1).expect("a status");
        (status.to_owned(), body.trim().to_owned())
    }

    fn free_port() -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("it is bound").port()
    }

    fn at(port: u16) -> Option<HealthAddress> {
        Some(HealthAddress { host: "127.0.0.1".into(), port })
    }

    #[tokio::test]
    async fn questions_are_answered_where_the_settings_say() {
        // Tests run in a network namespace of their own, where nothing is up yet.
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(
            up.is_ok_and(|status| status.success()),
            "iproute2 is installed, and this is a namespace of ours"
        );
        let (health, port) = (Health::default(), free_port());
        let (sender, receiver) = watch::channel(at(port));
        let server = tokio::spawn(serve(health.clone(), receiver));
        assert_eq!(get(port, "GET /readiness").await, ("503".into(), "starting".into()));
        assert_eq!(get(port, "GET /liveness").await.0, "204");
        health.set(None);
        assert_eq!(get(port, "GET /readiness").await.0, "204");
        assert_eq!(get(port, "GET /liveness").await.0, "204");
        assert_eq!(get(port, "GET /").await.0, "404");
        assert_eq!(get(port, "POST /readiness").await.0, "405");

        let other = free_port();
        sender.send(at(other)).expect("it is served");
        assert_eq!(get(other, "GET /readiness").await.0, "204");
        let old = TcpStream::connect(("127.0.0.1", port)).await;
        assert!(old.is_err(), "the old address is left");
        sender.send(None).expect("it is served");
        drop(sender);
        server.await.expect("it ends with its settings");
    }
}
