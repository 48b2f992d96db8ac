//! The clients of search engines that are kept: each holds connections and has read the machine's certificates.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{HttpTransport, UrlError};

/// So many clients are kept at most; the one that was used the longest ago goes first.
const CLIENTS: usize = 64;

/// A client that nobody used for so long is dropped: its Release has ended, or its engine is at another address.
const UNUSED: Duration = Duration::from_mins(10);

/// An engine's URL, and the address that stands for its host.
type Way = (String, Option<IpAddr>);

/// A client for every way to an engine.
#[derive(Default)]
pub struct Pool(Mutex<HashMap<Way, Kept>>);

struct Kept {
    used: Instant,
    client: Arc<HttpTransport>,
}

impl Pool {
    /// The client for an engine; see [`HttpTransport::new`].
    pub fn client(&self, url: &str, address: Option<IpAddr>) -> Result<Arc<HttpTransport>, UrlError> {
        let now = Instant::now();
        let way = (url.to_owned(), address);
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|_, kept| now.duration_since(kept.used) < UNUSED);
        if let Some(kept) = clients.get_mut(&way) {
            kept.used = now;
            return Ok(kept.client.clone());
        }
        let client = Arc::new(HttpTransport::new(url, address)?);
        if clients.len() >= CLIENTS {
            let oldest = clients.iter().min_by_key(|(_, kept)| kept.used);
            if let Some(oldest) = oldest.map(|(way, _)| way.clone()) {
                clients.remove(&oldest);
            }
        }
        let kept = Kept {
            used: now,
            client: client.clone(),
        };
        clients.insert(way, kept);
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(pool: &Pool, url: &str) -> Arc<HttpTransport> {
        drop(rustls::crypto::ring::default_provider().install_default());
        pool.client(url, None).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_kept_while_it_is_used() {
        let pool = Pool::default();
        let first = client(&pool, "http://one:9200");
        for _ in 0..3 {
            tokio::time::advance(UNUSED / 2).await;
            assert!(Arc::ptr_eq(&first, &client(&pool, "http://one:9200")));
        }
        let address = Some("10.0.0.1".parse().unwrap());
        let elsewhere = pool.client("http://one:9200", address).unwrap();
        assert!(!Arc::ptr_eq(&first, &elsewhere), "the engine is somewhere else");
        tokio::time::advance(UNUSED).await;
        assert!(!Arc::ptr_eq(&first, &client(&pool, "http://one:9200")));
        assert_eq!(pool.0.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_kept() {
        let pool = Pool::default();
        let first = client(&pool, "http://one:9200");
        for port in 1..=CLIENTS {
            tokio::time::advance(Duration::from_millis(1)).await;
            client(&pool, &format!("http://other:{port}"));
        }
        assert_eq!(pool.0.lock().unwrap().len(), CLIENTS);
        assert!(!Arc::ptr_eq(&first, &client(&pool, "http://one:9200")));
        assert!(pool.client("ftp://one", None).is_err());
    }
}
