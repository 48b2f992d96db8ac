//! What is asked: kinds of requests and their proportion.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::Method;
use hyper::body::Bytes;

/// One request to be sent.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its kind, for the report.
    pub kind: &'static str,
    /// Method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Content type and body, if any.
    pub body: Option<(&'static str, Bytes)>,
    /// What it writes, if it is a write whose fate the ledger follows.
    pub write: Option<Write>,
}

/// What a request writes: afterwards the document `id` has this content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The document.
    pub id: String,
    /// Its content, in the form in which it will be compared.
    pub content: String,
}

impl Planned {
    /// A GET.
    pub fn get(kind: &'static str, path: impl Into<String>) -> Self {
        Self {
            kind,
            method: Method::GET,
            path: path.into(),
            body: None,
            write: None,
        }
    }

    /// A request with a JSON body.
    pub fn json(
        kind: &'static str,
        method: Method,
        path: impl Into<String>,
        body: &serde_json::Value,
    ) -> Self {
        let body = Some(("application/json", Bytes::from(body.to_string())));
        Self {
            kind,
            method,
            path: path.into(),
            body,
            write: None,
        }
    }

    /// The same, followed by the ledger.
    #[must_use]
    pub fn writes(self, id: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            write: Some(Write {
                id: id.into(),
                content: content.into(),
            }),
            ..self
        }
    }

    /// True if sending it twice does no harm and changes nothing (RFC 9110, 9.2.1).
    pub fn is_safe(&self) -> bool {
        self.method.is_safe()
    }
}

/// Makes the n-th request of its kind.
type Maker = Arc<dyn Fn(u64) -> Planned + Send + Sync>;

struct Kind {
    weight: u64,
    made: AtomicU64,
    maker: Maker,
}

/// Kinds of requests with their weights. Which kind comes next looks random and is the same in every run.
#[derive(Clone, Default)]
pub struct Mix {
    kinds: Vec<Arc<Kind>>,
    asked: Arc<AtomicU64>,
}

impl Mix {
    /// Nothing yet; add kinds by [`Mix::with`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Only one kind: a GET of one path.
    pub fn only(path: &'static str) -> Self {
        Self::new().with(1, move |_| Planned::get("page", path))
    }

    /// What customers and staff of the shop do, on a shop filled with so many products (at least 100): pages,
    /// searches, and one request in ten that writes. The last tenth of the products is there to be deleted;
    /// the others are read and changed, and the ledger has their names.
    pub fn shop(products: u64) -> Self {
        const WORDS: [&str; 7] = ["lamp", "chair", "table", "shelf", "kettle", "carpet", "mirror"];
        let kept = products - products / 10;
        let spread = move |n: u64| 1 + (n * 7919) % kept;
        let draft = |name: &str, n: u64| serde_json::json!({"name": name, "price_cents": 100 + n % 900});
        Self::new()
            .with(20, |_| Planned::get("newest", "/"))
            .with(110, move |n| {
                Planned::get("product", format!("/products/{}", spread(n)))
            })
            .with(50, |n| {
                Planned::get("search", format!("/search?q={}", pick(&WORDS, n)))
            })
            .with(16, move |n| {
                let (id, name) = (spread(n), format!("Lamp, edition {n}"));
                let path = format!("/products/{id}");
                Planned::json("write", Method::PUT, path, &draft(&name, n)).writes(id.to_string(), name)
            })
            .with(3, move |n| {
                Planned::json(
                    "insert",
                    Method::POST,
                    "/products",
                    &draft(&format!("New chair {n}"), n),
                )
            })
            .with(1, move |n| match kept + 1 + n {
                id if id <= products => Planned {
                    method: Method::DELETE,
                    ..Planned::get("delete", format!("/products/{id}"))
                },
                _ => Planned::get("newest", "/"),
            })
    }

    /// Adds a kind. `maker` gets 0, 1, 2… and makes that request of this kind; one that writes should not
    /// come back to the same document before `rate × timeout` requests.
    #[must_use]
    pub fn with(mut self, weight: u32, maker: impl Fn(u64) -> Planned + Send + Sync + 'static) -> Self {
        let kind = Kind {
            weight: u64::from(weight),
            made: AtomicU64::new(0),
            maker: Arc::new(maker),
        };
        self.kinds.push(Arc::new(kind));
        self
    }

    /// The next request.
    pub(super) fn next(&self) -> Planned {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let total: u64 = self.kinds.iter().map(|kind| kind.weight).sum();
        let mut place = scatter(number)
            .checked_rem(total)
            .expect("a mix needs a kind with a weight");
        for kind in &self.kinds {
            if place < kind.weight {
                return (kind.maker)(kind.made.fetch_add(1, Ordering::Relaxed));
            }
            place -= kind.weight;
        }
        unreachable!("the place is below the sum of the weights")
    }
}

impl fmt::Debug for Mix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Mix({} kinds)", self.kinds.len())
    }
}

/// One of several, evenly spread.
fn pick<'a>(words: &[&'a str], number: u64) -> &'a str {
    let place = usize::try_from(scatter(number) >> 32).expect("the upper half of a number fits");
    words[place % words.len()]
}

/// `SplitMix64`'s finalizer: turns a counter into something evenly spread, so that kinds do not keep step
/// with the connections that take turns.
fn scatter(number: u64) -> u64 {
    let mut value = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}
