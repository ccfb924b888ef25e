//! A proxy that understands just enough of PostgreSQL's protocol to count messages and to fail at a chosen one.
//! Clear text only.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

pub const BIND: u8 = b'B';
pub const EXECUTE: u8 = b'E';
pub const PARSE: u8 = b'P';
pub const QUERY: u8 = b'Q';

#[derive(Default)]
struct Knobs {
    /// Takes everything in and lets nothing out.
    hangs: AtomicBool,
    /// Closes new connections at once.
    refuses: AtomicBool,
    /// Every transaction reaches a server session that knows nothing of the ones before.
    pools: AtomicBool,
    /// Closes the connection instead of passing on the answer to the next Execute.
    cuts_answer: AtomicBool,
    /// Answers the next Execute as a server does that is shutting down, without passing it on.
    says_farewell: AtomicBool,
    sent: Mutex<HashMap<u8, usize>>,
}

pub struct Proxy {
    knobs: Arc<Knobs>,
    url: Url,
    /// Each change closes the connections of before.
    epoch: watch::Sender<usize>,
}

impl Proxy {
    /// Stands between the client and the database that `url` names.
    pub async fn to(url: &str) -> Self {
        let mut url = Url::parse(url).unwrap();
        let server = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();

        let knobs = Arc::new(Knobs::default());
        let epoch = watch::Sender::new(0);
        let (shared, ends) = (Arc::clone(&knobs), epoch.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if shared.refuses.load(Ordering::SeqCst) {
                    continue;
                }
                let (knobs, mut ends, server) = (Arc::clone(&shared), ends.clone(), server.clone());
                ends.mark_unchanged();
                tokio::spawn(async move {
                    let server = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        () = relay(&knobs, client, server) => {}
                        _ = ends.changed() => {}
                    }
                });
            }
        });
        Self { knobs, url, epoch }
    }

    pub fn url(&self) -> secrecy::SecretString {
        self.url.to_string().into()
    }

    pub fn hang(&self, hangs: bool) {
        self.knobs.hangs.store(hangs, Ordering::SeqCst);
    }

    pub fn refuse(&self, refuses: bool) {
        self.knobs.refuses.store(refuses, Ordering::SeqCst);
    }

    pub fn pool_transactions(&self) {
        self.knobs.pools.store(true, Ordering::SeqCst);
    }

    pub fn cut_next_answer(&self) {
        self.knobs.cuts_answer.store(true, Ordering::SeqCst);
    }

    pub fn say_farewell(&self) {
        self.knobs.says_farewell.store(true, Ordering::SeqCst);
    }

    /// Closes every connection, as a server does that crashes.
    pub fn disconnect(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// How many messages of a kind clients have sent.
    pub fn sent(&self, kind: u8) -> usize {
        self.knobs.sent.lock().unwrap().get(&kind).copied().unwrap_or(0)
    }
}

async fn relay(knobs: &Knobs, client: TcpStream, server: TcpStream) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    // The first message has no type.
    let Some(startup) = frame(&mut from_client, false).await else { return };
    if to_server.write_all(&startup).await.is_err() {
        return;
    }
    let to_server = tokio::sync::Mutex::new(to_server);
    let to_client = tokio::sync::Mutex::new(to_client);
    let cutting = AtomicBool::new(false);
    tokio::select! {
        _ = requests(knobs, from_client, &to_server, &to_client, &cutting) => {}
        _ = answers(knobs, from_server, &to_client, &to_server, &cutting) => {}
    }
}

type Half = tokio::sync::Mutex<OwnedWriteHalf>;

async fn requests(
    knobs: &Knobs,
    mut from: OwnedReadHalf,
    server: &Half,
    client: &Half,
    cutting: &AtomicBool,
) -> Option<()> {
    loop {
        let message = frame(&mut from, true).await?;
        *knobs.sent.lock().unwrap().entry(message[0]).or_default() += 1;
        if message[0] == EXECUTE && knobs.says_farewell.swap(false, Ordering::SeqCst) {
            let fields = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0";
            let mut farewell = vec![b'E'];
            farewell.extend(u32::try_from(fields.len() + 4).unwrap().to_be_bytes());
            farewell.extend(fields);
            client.lock().await.write_all(&farewell).await.ok()?;
            return None;
        }
        if message[0] == EXECUTE && knobs.cuts_answer.swap(false, Ordering::SeqCst) {
            cutting.store(true, Ordering::SeqCst);
        }
        if !knobs.hangs.load(Ordering::SeqCst) {
            server.lock().await.write_all(&message).await.ok()?;
        }
    }
}

async fn answers(
    knobs: &Knobs,
    mut from: OwnedReadHalf,
    client: &Half,
    server: &Half,
    cutting: &AtomicBool,
) -> Option<()> {
    loop {
        let message = frame(&mut from, true).await?;
        let is_idle = message[0] == b'Z' && message[5] == b'I';
        if cutting.load(Ordering::SeqCst) && is_idle {
            return None;
        }
        if is_idle && knobs.pools.load(Ordering::SeqCst) {
            let discard = b"Q\0\0\0\x10discard all\0";
            server.lock().await.write_all(discard).await.ok()?;
            while frame(&mut from, true).await?[0] != b'Z' {}
        }
        if !knobs.hangs.load(Ordering::SeqCst) && !cutting.load(Ordering::SeqCst) {
            client.lock().await.write_all(&message).await.ok()?;
        }
    }
}

async fn frame(from: &mut OwnedReadHalf, has_type: bool) -> Option<Vec<u8>> {
    let head = usize::from(has_type);
    let mut message = vec![0; head + 4];
    from.read_exact(&mut message).await.ok()?;
    let length = u32::from_be_bytes(message[head..].try_into().unwrap()) as usize;
    message.resize(head + length, 0);
    from.read_exact(&mut message[head + 4..]).await.ok()?;
    Some(message)
}
