//! Static files: the page at `/`, further directories at their prefixes, and the headers they all carry.

use std::path::Path;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::{self, Next};
use axum::response::Response;
use tower_http::services::ServeDir;

use crate::options::Mount;

/// Serves what was asked for. `csp` goes with HTML only: it is a page's policy.
pub fn router(www: Option<&Path>, mounts: &[Mount], csp: Option<HeaderValue>) -> Router {
    let mut router = Router::new();
    for mount in mounts {
        router = router.nest_service(&mount.prefix, ServeDir::new(&mount.directory));
    }
    router = match www {
        Some(directory) => router.fallback_service(ServeDir::new(directory)),
        None => router.fallback(nothing_here),
    };
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let csp = csp.clone();
        async move { dressed(next.run(request).await, csp) }
    }))
}

async fn nothing_here() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "This gateway was started without --www: it serves no page.\n")
}

fn dressed(mut response: Response, csp: Option<HeaderValue>) -> Response {
    let headers = response.headers_mut();
    // Asked for anew each time. A page that may not be stored is not kept by the back/forward cache either.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let html = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if html {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        if let Some(csp) = csp {
            headers.insert(CONTENT_SECURITY_POLICY, csp);
        }
    }
    response
}
