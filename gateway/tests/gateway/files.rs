//! Static files: types, headers, and that nothing outside a directory is reached.

use crate::harness::Gateway;

#[tokio::test]
async fn files_carry_their_type_and_are_never_stored() {
    let root = tree("types");
    let www = root.join("www");
    let gateway = Gateway::start(&format!("--www {0} --mount /pkg={0}", www.display())).await;
    for (path, kind) in [
        ("/", "text/html"),
        ("/index.html", "text/html"),
        ("/a.js", "text/javascript"),
        ("/pkg/a.mjs", "javascript"),
        ("/pkg/a.wasm", "application/wasm"),
        ("/a.css", "text/css"),
    ] {
        let reply = gateway.http("GET", path, "", "").await;
        assert_eq!(reply.status, 200, "{path}");
        let of_kind = |line: &str| line.starts_with("content-type: ") && line.contains(kind);
        assert!(reply.head.lines().any(of_kind), "{path}: {}", reply.head);
        assert!(reply.head.contains("cache-control: no-cache"), "{path}");
        let strict = reply.head.contains("content-security-policy: default-src 'self'; script-src");
        assert_eq!(strict, kind == "text/html", "{path}");
    }
}

#[tokio::test]
async fn the_policy_can_be_changed_and_left_out() {
    let root = tree("policy");
    let www = root.join("www");
    let policy = "script-src'none'";
    let gateway = Gateway::start(&format!("--www {} --csp {policy}", www.display())).await;
    let reply = gateway.http("GET", "/", "", "").await;
    assert!(reply.head.contains(&format!("content-security-policy: {policy}")));
    let gateway = Gateway::start(&format!("--www {} --csp off", www.display())).await;
    let reply = gateway.http("GET", "/", "", "").await;
    assert!(!reply.head.contains("content-security-policy"));
}

#[tokio::test]
async fn nothing_outside_a_directory_is_reached() {
    let root = tree("outside");
    let www = root.join("www");
    let gateway = Gateway::start(&format!("--www {0} --mount /pkg={0}", www.display())).await;
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "/pkg/../../secret.txt",
        "/pkg/%2e%2e/secret.txt",
        "//secret.txt",
        "/%00",
    ] {
        let reply = gateway.http("GET", path, "", "").await;
        assert!(reply.status >= 400, "{path} gave {}", reply.status);
        assert!(!reply.body.contains("secret"), "{path}");
    }
}

/// A directory of this test's own, with a secret beside what is served.
fn tree(name: &str) -> std::path::PathBuf {
    let root = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let www = root.join("www");
    std::fs::create_dir_all(&www).expect("the directory can be made");
    std::fs::write(root.join("secret.txt"), "secret").expect("the file can be written");
    for file in ["index.html", "a.js", "a.mjs", "a.wasm", "a.css"] {
        std::fs::write(www.join(file), "x").expect("the file can be written");
    }
    root
}
