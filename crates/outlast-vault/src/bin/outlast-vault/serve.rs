//! `outlast-vault serve`: the vault on the network, until a signal ends it.

use std::io::Read;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::Arc;
use std::thread;

use outlast_vault::Face;
use outlast_vault::http::{Events, Handler, Limits, Listen, Server, Stop, Tls};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::config::LogFormat;
use crate::exit::{self, Failure};
use crate::folder::Folder;
use crate::observe::{Metrics, Watch, Watched};
use crate::operator::Operator;
use crate::{control, sandbox};

/// Exit status after a second signal: as restic's.
const INTERRUPTED: i32 = 130;

/// Turns on log lines, on standard error.
pub fn log_lines(format: LogFormat, is_verbose: bool) {
    let level = if is_verbose {
        tracing::Level::DEBUG
    } else {
        tracing::Level::INFO
    };
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .with_writer(std::io::stderr);
    // It fails only where lines are on already.
    let _ = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "a defect of this program: {panic}");
    }));
}

/// A signal that asks to stop; a second one ends the process at once.
fn stop_signals() -> Result<UnixStream, Failure> {
    let failed =
        |error: std::io::Error| Failure::new(format!("signals cannot be handled: {error}"));
    let (reader, writer) = UnixStream::pair().map_err(failed)?;
    let flag = Arc::new(std::sync::atomic::AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        // The order matters: the second signal finds the flag set.
        signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .map_err(failed)?;
        let writer = writer.try_clone().map_err(failed)?;
        signal_hook::low_level::pipe::register(signal, writer).map_err(failed)?;
    }
    Ok(reader)
}

/// Tells the service manager that the vault is ready, where there is one that waits.
fn tell_ready() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(name.as_os_str());
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    let told =
        address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address));
    if let Err(error) = told {
        tracing::warn!(%error, "the service manager cannot be told that the vault is ready");
    }
}

/// A server that runs on a thread of its own.
struct Running {
    stop: Stop,
    thread: thread::JoinHandle<()>,
}

fn start(
    listen: &Listen,
    tls: Option<Tls>,
    limits: Limits,
    handler: Arc<dyn Handler>,
    events: Arc<dyn Events>,
) -> Result<(Running, Listen), Failure> {
    let server = Server::bind(listen, tls, limits, handler, events)
        .map_err(|error| Failure::new(error.to_string()))?;
    let (stop, local) = (server.stop_handle(), server.local_address().clone());
    let thread = thread::spawn(move || server.run());
    Ok((Running { stop, thread }, local))
}

/// Serves until a signal comes.
///
/// # Errors
/// If the vault cannot be opened or an address cannot be listened at.
pub fn run(folder: &Folder, is_verbose: bool) -> Result<u8, Failure> {
    let config = &folder.config;
    log_lines(config.log.format, is_verbose);
    let Some(exclusive) = folder.try_exclusive()? else {
        return Err(
            Failure::new("another process has this vault open").hint("is it being served already?")
        );
    };
    sandbox::raise_open_files();
    let mut signals = stop_signals()?;
    let (listens, tls) = (config.listens()?, folder.tls()?);
    let metrics = config.metrics.listen.map(Listen::Tcp);
    std::fs::create_dir_all(folder.store()).map_err(|error| {
        Failure::new(format!("cannot make {}: {error}", folder.store().display()))
    })?;
    if config.landlock {
        // Before any thread starts, so that all of them are confined.
        let folders = [folder.path().to_owned(), folder.store()];
        match sandbox::confine(&folders, listens.iter().cloned().chain(metrics.clone())) {
            Ok(status) => tracing::info!(?status, "confined by Landlock"),
            Err(error) => {
                let message = format!("the process cannot confine itself with Landlock: {error}");
                return Err(
                    Failure::new(message).hint("`landlock = false` in vault.toml goes on without")
                );
            }
        }
    }

    let operator = Operator::new(folder.vault(&exclusive)?, folder, true)?;
    if let Some(reason) = operator.vault.read_only_reason() {
        tracing::error!(
            reason,
            "the vault takes nothing until `outlast-vault fsck` has passed"
        );
    }
    let scrubber = operator.scrubber.clone();
    thread::spawn(move || scrubber.run_on_schedule());
    let control = control::listen(&folder.socket()).map_err(|error| {
        Failure::new(format!(
            "cannot listen at {}: {error}",
            folder.socket().display()
        ))
    })?;
    let for_control = operator.clone();
    thread::spawn(move || control::serve(&control, &for_control));

    let watch = Arc::new(Watch::new(config.log.requests));
    let handler = Arc::new(Watched {
        inner: Face::new(Arc::clone(&operator.vault)),
        watch: Arc::clone(&watch),
    });
    let mut running = Vec::new();
    for listen in &listens {
        let (server, local) = start(
            listen,
            tls.clone(),
            config.limits(),
            Arc::clone(&handler) as Arc<dyn Handler>,
            Arc::clone(&watch) as Arc<dyn Events>,
        )?;
        tracing::info!(address = %local, tls = tls.is_some(), "serving");
        running.push(server);
    }
    if let Some(listen) = metrics {
        let metrics = Metrics {
            operator: operator.clone(),
            watch: Arc::clone(&watch),
        };
        let limits = Limits {
            connections: 8,
            threads: 2,
            ..Limits::default()
        };
        let (server, local) = start(&listen, None, limits, Arc::new(metrics), Arc::new(()))?;
        tracing::info!(address = %local, "numbers at /metrics");
        running.push(server);
    }
    tracing::info!(identity = %operator.vault.identity(), entries = operator.vault.log_size(), "ready");
    tell_ready();

    // Until a signal comes. A reader that fails is as good as a signal: nobody could stop us otherwise.
    let _ = signals.read(&mut [0]);
    operator.scrubber.stop();
    tracing::info!("stopping: requests that have begun may end");
    for server in &running {
        server.stop.stop();
    }
    for server in running {
        // What a thread panicked with has been logged.
        let _ = server.thread.join();
    }
    let _ = std::fs::remove_file(folder.socket());
    operator.vault.close()?;
    tracing::info!("stopped");
    Ok(exit::OK)
}
