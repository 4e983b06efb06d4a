//! Real database servers for the tests: one of each kind, started by the first test that needs it.
//!
//! A server runs under a small shell script that reads from a pipe of the tests: when they end, in whatever way, the pipe
//! closes, the script stops the server and removes its files. A line on the pipe asks it to restart the server.
#![cfg(unix)]

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The password of the servers' users; no message may hold it.
pub(crate) const PASSWORD: &str = "hunter2-Zoë";
/// As an address has it.
pub(crate) const ENCODED_PASSWORD: &str = "hunter2-Zo%C3%AB";

const STOP_WITH_THE_TESTS: &str = r#"
folder=$1; shift
"$@" >"$folder/server.log" 2>&1 &
server=$!
while read -r _; do
    kill -INT $server; wait $server
    "$@" >>"$folder/server.log" 2>&1 &
    server=$!
done
kill -TERM $server; wait $server
rm -rf "$folder"
"#;

/// A server and how to talk to it.
pub(crate) struct Server {
    kind: Kind,
    port: u16,
    client: PathBuf,
    socket: PathBuf,
    /// Its pipe is what keeps the server up.
    _process: Child,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Postgres,
    MariaDb,
}

/// A database of its own for one test.
pub(crate) struct Database {
    server: &'static Server,
    name: String,
}

/// A new database in PostgreSQL.
pub(crate) fn postgres() -> Database {
    static SERVER: OnceLock<Server> = OnceLock::new();
    Database::new(SERVER.get_or_init(start_postgres))
}

/// A new database in MariaDB.
pub(crate) fn mariadb() -> Database {
    static SERVER: OnceLock<Server> = OnceLock::new();
    Database::new(SERVER.get_or_init(start_mariadb))
}

/// A new database in a PostgreSQL of its own, which the test may restart.
pub(crate) fn postgres_to_restart() -> Database {
    Database::new(Box::leak(Box::new(start_postgres())))
}

impl Database {
    /// Restarts the server; whoever is connected is thrown out.
    pub(crate) fn restart(&self) {
        use std::io::Write;
        let mut pipe = self.server._process.stdin.as_ref().expect("a pipe");
        pipe.write_all(b"restart\n").expect("the script listens");
        // It answers until it goes down; only then does it come up.
        thread::sleep(Duration::from_millis(500));
        self.server.wait_until_up(&self.server.socket);
    }

    fn new(server: &'static Server) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        server.execute(None, &format!("create database {name}"));
        Self { server, name }
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        self.url_of("takt", ENCODED_PASSWORD)
    }

    /// Its address for another login.
    pub(crate) fn url_of(&self, user: &str, password: &str) -> String {
        let scheme = match self.server.kind {
            Kind::Postgres => "postgresql",
            Kind::MariaDb => "mysql",
        };
        let (port, name) = (self.server.port, &self.name);
        format!("{scheme}://{user}:{password}@127.0.0.1:{port}/{name}")
    }

    /// Runs statements; what they answer, a line a row, columns between tabs.
    pub(crate) fn sql(&self, statements: &str) -> String {
        self.server.execute(Some(&self.name), statements)
    }

    /// Runs one query again and again until it answers this.
    pub(crate) fn wait_for(&self, query: &str, answer: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.sql(query) != answer {
            assert!(
                Instant::now() < deadline,
                "`{query}` never answered `{answer}`"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Server {
    fn command(&self, database: Option<&str>) -> Command {
        let mut command = Command::new(&self.client);
        match self.kind {
            Kind::Postgres => command
                .args(["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1"])
                .args(["-h", "127.0.0.1", "-U", "takt"])
                .args(["-p", &self.port.to_string()])
                .args(["-d", database.unwrap_or("postgres")])
                .env("PGPASSWORD", PASSWORD),
            Kind::MariaDb => command
                .args([
                    "--no-defaults",
                    "--batch",
                    "--skip-column-names",
                    "--user=root",
                ])
                .args(["--default-character-set=utf8mb4"])
                .arg(format!("--socket={}", self.socket.display()))
                .args(database),
        };
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn try_execute(&self, database: Option<&str>, statements: &str) -> Output {
        use std::io::Write;
        let mut child = self.command(database).spawn().expect("the client starts");
        let mut input = child.stdin.take().expect("a pipe");
        // A client that cannot connect does not read.
        let _ = input.write_all(statements.as_bytes());
        drop(input);
        child.wait_with_output().expect("the client ends")
    }

    fn execute(&self, database: Option<&str>, statements: &str) -> String {
        let output = self.try_execute(database, statements);
        assert!(
            output.status.success(),
            "{statements}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let answer = String::from_utf8(output.stdout).expect("UTF-8");
        answer.trim_end().to_owned()
    }

    fn wait_until_up(&self, folder: &Path) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let output = self.try_execute(None, "select 1;");
            if output.status.success() {
                return;
            }
            if Instant::now() > deadline {
                let log = fs::read_to_string(folder.join("server.log")).unwrap_or_default();
                let said = String::from_utf8_lossy(&output.stderr);
                panic!("the server does not come up: {said}\n{log}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A program on the path or in one of these folders.
fn program(names: &[&str], folders: &[PathBuf], package: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).collect::<Vec<_>>();
    folders
        .iter()
        .chain(&on_path)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|program| program.is_file())
        .unwrap_or_else(|| {
            panic!(
                "`{}` is not here, and these tests talk to a real server: `apt-get install {package}` (Debian, Ubuntu), `brew install {}` (macOS)",
                names[0],
                package.trim_end_matches("-server")
            )
        })
}

/// A folder that the server's user may write, and what to put in front of its commands: servers do not run as root.
fn home(user: &str) -> (PathBuf, Vec<String>) {
    let folder = tempfile::Builder::new()
        .prefix("takt-server-")
        .tempdir()
        .expect("a folder")
        .keep();
    let is_root = run(Command::new("id").arg("-u")).trim() == "0";
    if !is_root {
        return (folder, Vec::new());
    }
    run(Command::new("chown").arg(user).arg(&folder));
    let before = [
        "setpriv",
        "--reuid",
        user,
        "--regid",
        user,
        "--clear-groups",
    ];
    (folder, before.map(str::to_owned).to_vec())
}

fn command(before: &[String], program: &Path) -> Command {
    match before {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}

fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("a program that starts");
    assert!(
        output.status.success(),
        "{command:?}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// The server, until the tests end.
fn start(folder: &Path, server: &Command) -> Child {
    Command::new("sh")
        .args(["-c", STOP_WITH_THE_TESTS, "sh"])
        .arg(folder)
        .arg(server.get_program())
        .args(server.get_args())
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}

fn start_postgres() -> Server {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    versions.sort();
    versions.reverse();
    let find = |name| program(&[name], &versions, "postgresql");
    let (postgres, initdb, client) = (find("postgres"), find("initdb"), find("psql"));
    let (folder, before) = home("postgres");
    let data = folder.join("data");
    let password = folder.join("password");
    fs::write(&password, PASSWORD).expect("written");
    run(command(&before, &initdb)
        .arg("-D")
        .arg(&data)
        .args([
            "-U",
            "takt",
            "-E",
            "UTF8",
            "--locale=C",
            "--auth=scram-sha-256",
            "--no-sync",
        ])
        .arg(format!("--pwfile={}", password.display())));
    let port = free_port();
    let mut server = command(&before, &postgres);
    server
        .arg("-D")
        .arg(&data)
        .args(["-p", &port.to_string(), "-h", "127.0.0.1"])
        .args([
            "-c",
            "fsync=off",
            "-c",
            "full_page_writes=off",
            "-c",
            "synchronous_commit=off",
        ])
        .args(["-c", "timezone=Asia/Shanghai"])
        .arg("-k")
        .arg(&folder);
    let server = Server {
        kind: Kind::Postgres,
        port,
        client,
        socket: folder.clone(),
        _process: start(&folder, &server),
    };
    server.wait_until_up(&folder);
    server
}

fn start_mariadb() -> Server {
    let folders = [PathBuf::from("/usr/sbin")];
    let find = |names: &[&str]| program(names, &folders, "mariadb-server");
    let mariadbd = find(&["mariadbd", "mysqld"]);
    let install = find(&["mariadb-install-db", "mysql_install_db"]);
    let client = find(&["mariadb", "mysql"]);
    let (folder, before) = home("mysql");
    let data = folder.join("data");
    let socket = folder.join("s.sock");
    run(command(&before, &install)
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        .args(["--auth-root-authentication-method=normal", "--skip-test-db"]));
    let port = free_port();
    let mut server = command(&before, &mariadbd);
    server
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", socket.display()))
        .arg(format!("--port={port}"))
        .args(["--bind-address=127.0.0.1", "--default-time-zone=+08:00"])
        .args([
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=64M",
        ])
        .args(["--character-set-server=utf8mb4", "--max-allowed-packet=16M"]);
    let server = Server {
        kind: Kind::MariaDb,
        port,
        client,
        socket,
        _process: start(&folder, &server),
    };
    server.wait_until_up(&folder);
    server.execute(
        None,
        &format!("create user takt@'%' identified by '{PASSWORD}'; grant all on *.* to takt@'%';"),
    );
    server
}
