//! `serve`: the web process.

mod pages;

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, middleware, response::Response, routing::get};
use http::{HeaderName, HeaderValue, header::CONNECTION};
use tokio::{net::TcpListener, sync::oneshot};

use crate::{
    database::Database, error::Error, faults::Crash, output, search::Search, settings::Settings, signals,
};

/// Says which version answered.
const VERSION_HEADER: HeaderName = HeaderName::from_static("x-shop-version");
/// Says which index it reads and writes.
const INDEX_HEADER: HeaderName = HeaderName::from_static("x-shop-index");

/// Requests under way at the end of the drain get this long.
const FINISH: Duration = Duration::from_secs(15);

/// What every request needs.
struct Shop {
    settings: Settings,
    database: Database,
    search: Search,
}

/// What every response says of this process.
struct Label {
    version: HeaderValue,
    index: HeaderValue,
    draining: AtomicBool,
}

/// The shop itself.
pub(crate) async fn serve(settings: Settings) -> Result<ExitCode, Error> {
    let shop = Arc::new(Shop {
        database: Database::new(&settings)?,
        search: Search::new(&settings)?,
        settings: settings.clone(),
    });
    let router = Router::new()
        .route("/healthz", get(pages::alive))
        .route("/readyz", get(pages::ready))
        .route("/", get(pages::newest))
        .route("/search", get(pages::search))
        .route("/products", axum::routing::post(pages::insert))
        .route(
            "/products/{id}",
            get(pages::product).put(pages::update).delete(pages::delete),
        )
        .with_state(shop);
    run(settings, router).await
}

/// Answers requests until SIGTERM. Then it goes on for a while, because clients are still sent here until the news is
/// everywhere, asking them to close their connections; only then it stops accepting and lets requests finish.
pub(crate) async fn run(settings: Settings, router: Router) -> Result<ExitCode, Error> {
    let terminated = signals::terminated()?;
    if settings.faults.crash == Some(Crash::Boot) {
        return Err(Error::Fault("the server does not boot"));
    }
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, settings.port));
    let cannot_listen = |source| Error::System {
        what: format!("listen on {address}"),
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(cannot_listen)?;
    let label = Arc::new(Label::new(&settings)?);
    tracing::info!(version = settings.version.number(), index = settings.alias, %address, "serving");
    let router = router.layer(middleware::map_response_with_state(Arc::clone(&label), attach));
    let (begin_stop, told) = oneshot::channel::<()>();
    let drain = async {
        terminated.await;
        label.draining.store(true, Ordering::Relaxed);
        output::line("draining");
        tokio::time::sleep(settings.drain).await;
        // A server that has ended already cannot be told; the other branch below has seen it.
        begin_stop.send(()).ok();
        tokio::time::sleep(FINISH).await;
    };
    let serving = axum::serve(listener, router).with_graceful_shutdown(async {
        told.await.ok();
    });
    tokio::select! {
        end = serving.into_future() => {
            end.map_err(|source| Error::System { what: "serve".to_owned(), source })?;
            output::line("stopped; every request was answered");
            Ok(ExitCode::SUCCESS)
        }
        () = drain => {
            output::line("stopped with connections still open");
            Ok(ExitCode::SUCCESS)
        }
        () = crash(settings.faults.crash) => Err(Error::Fault("the server crashed")),
    }
}

impl Label {
    fn new(settings: &Settings) -> Result<Self, Error> {
        let index = HeaderValue::from_str(&settings.alias).map_err(|_| {
            Error::Settings("SEARCH_INDEX_GENERATION has characters that no index may have".to_owned())
        })?;
        Ok(Self {
            version: HeaderValue::from(u16::from(settings.version.number())),
            index,
            draining: AtomicBool::new(false),
        })
    }
}

/// Says on every response, errors included, who answered.
async fn attach(State(label): State<Arc<Label>>, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(VERSION_HEADER, label.version.clone());
    headers.insert(INDEX_HEADER, label.index.clone());
    if label.draining.load(Ordering::Relaxed) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn crash(fault: Option<Crash>) {
    match fault {
        Some(Crash::After(time)) => tokio::time::sleep(time).await,
        Some(Crash::Boot | Crash::NeverReady) | None => std::future::pending().await,
    }
}
