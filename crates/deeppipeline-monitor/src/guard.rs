//! Who may look: the checks that every request goes through.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The least number of bytes of a token.
pub(crate) const SHORTEST_TOKEN: usize = 16;

/// What a request must have.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) address: SocketAddr,
    pub(crate) token: Option<String>,
}

impl Guard {
    /// Returns true if the server is only there for this machine, and the request came by a name of this machine: a page
    /// from elsewhere, whose own name leads here, has another.
    fn knows_host(&self, host: &str) -> bool {
        if !self.address.ip().is_loopback() {
            return true;
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) && !port.is_empty() => {
                if port.parse() != Ok(self.address.port()) {
                    return false;
                }
                name
            }
            _ => host,
        };
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    }

    /// Returns the reason for which a request is refused, if it is.
    fn refusal(&self, headers: &HeaderMap, path: &str, query: Option<&str>) -> Option<(StatusCode, &'static str)> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let Some(host) = host.filter(|host| self.knows_host(host)) else {
            return Some((
                StatusCode::FORBIDDEN,
                "this server is not known by that name: ask for 127.0.0.1 or localhost",
            ));
        };
        if let Some(origin) = headers.get(header::ORIGIN) {
            let own = format!("http://{host}");
            if origin.to_str().ok() != Some(own.as_str()) {
                return Some((StatusCode::FORBIDDEN, "a page from elsewhere may not read this"));
            }
        }
        // What the page itself is made of says nothing about the pipelines.
        let is_open = !path.starts_with("/api/") && path != "/metrics";
        match &self.token {
            Some(token) if !is_open && !has_token(headers, query, token) => Some((
                StatusCode::UNAUTHORIZED,
                "this server wants its token: ?token=..., or Authorization: Bearer ...",
            )),
            _ => None,
        }
    }
}

/// Returns true if the request has the token, in its header or behind its path.
fn has_token(headers: &HeaderMap, query: Option<&str>, token: &str) -> bool {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let by_header = header.and_then(|value| value.strip_prefix("Bearer "));
    let by_query = query.into_iter().flat_map(|query| query.split('&')).filter_map(|pair| pair.strip_prefix("token="));
    by_header.into_iter().chain(by_query).any(|got| is_same(got.as_bytes(), token.as_bytes()))
}

/// Compares without telling by the time it takes how much is right.
fn is_same(got: &[u8], wanted: &[u8]) -> bool {
    let differs = got.iter().zip(wanted).fold(0, |differs, (got, wanted)| differs | (got ^ wanted));
    got.len() == wanted.len() && differs == 0
}

/// Lets a request through, or refuses it.
pub(crate) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let refusal = guard.refusal(request.headers(), request.uri().path(), request.uri().query());
    let mut response = match refusal {
        Some((status, why)) => (status, format!("{why}\n")).into_response(),
        None => next.run(request).await,
    };
    // A picture that is looked at alone has its own style, and nothing that runs.
    let is_picture = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "image/svg+xml");
    let policy = match is_picture {
        true => "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        false => {
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'"
        }
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, policy),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
