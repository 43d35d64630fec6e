//! From a dump into a server: unpacked on a thread, turned into statements where it is an
//! archive, and written into the client's stdin.
//!
//! A client takes the end of its stdin for the end of the dump. So whatever goes wrong on the
//! way (the network, the unpacking, a checksum) ends the client before its stdin; and
//! PostgreSQL's transaction is only committed once all of the dump was right.

use std::fmt;
use std::io::{self, Read};

use bucket_copy::Halt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::client::{self, Client, Server};
use super::format::{Content, Dump};
use super::object::Sealed;
use super::statements::{Ending, Origin, Statements};
use crate::args::Engine;
use crate::backups::Unread;
use crate::quantity::bytes;

/// Bytes that are passed on at once; few of them wait.
const CHUNK: usize = 256 << 10;
const WAITING: usize = 4;

type Chunks = mpsc::Receiver<Vec<u8>>;

/// How a dump went in.
#[derive(Debug)]
pub(crate) struct Poured {
    /// Bytes of statements.
    pub(crate) bytes: u64,
    /// The database the dump was made of, if it says so.
    pub(crate) named: Option<String>,
    /// What proves that the bytes were the object's.
    pub(crate) proof: String,
    /// Whether the dump itself says that it is whole.
    pub(crate) marked: bool,
}

/// Why it did not; what its client said is an error of its own.
#[derive(Debug)]
enum Broken {
    /// By the bytes unpacked before.
    Damaged {
        layers: String,
        after: u64,
        cause: io::Error,
    },
    NotTheObject(String),
    NoEnd(&'static str),
    Stopped,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { layers, after, .. } => {
                write!(
                    f,
                    "it is damaged: its {layers} cannot be unpacked beyond {}: take another dump",
                    bytes(*after)
                )
            }
            Self::NotTheObject(proof) => write!(
                f,
                "what came is not what S3 says the object is (by its {proof}): run again; if it stays, the object is \
                 damaged: take another dump"
            ),
            Self::NoEnd(mark) => write!(
                f,
                "it is not whole: it does not end with `{mark}`; it was cut short when it was made, before it was \
                 copied: take another dump"
            ),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

impl std::error::Error for Broken {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Damaged { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

/// Pours `dump` into `database`. After an error its client has ended, too.
pub(crate) async fn pour(
    dump: Dump,
    server: &Server,
    database: &str,
    no_owner: bool,
    halt: &Halt,
) -> anyhow::Result<Poured> {
    let layers = if dump.layers.is_empty() { "content".to_owned() } else { dump.layers.join(" in ") };
    let origin = Origin::of(dump.content, &dump.head)?;
    let (sender, mut sql) = mpsc::channel(WAITING);
    let reader = dump.reader;
    let unpacking = tokio::task::spawn_blocking(move || unpack(reader, &sender));
    let mut archive = None;
    if dump.content == Content::PostgresCustom {
        let converting = Converting::start(sql, no_owner)?;
        (archive, sql) = (Some(converting.0), converting.1);
    }
    let mut client = server.start(database)?;
    let mut statements = Statements::new(server.engine, database, origin);

    let poured = async {
        let mut count = write(&mut client, server.engine, &mut statements, sql).await?;
        // The client's own words come first: where it ended, nobody reads on.
        if let Some(count) = &mut count {
            match unpacking.await? {
                (_, Ok(())) => {}
                (after, Err(cause)) => return Err(unpacked(layers, after, cause)),
            }
            if let Some(archive) = archive {
                archive.ended().await?;
            }
            let proof = match dump.seal.as_ref().map(|seal| seal.verdict()) {
                Some(Sealed::Whole(proof)) => proof.to_string(),
                Some(Sealed::Broken(proof)) => return Err(Broken::NotTheObject(proof.to_string()).into()),
                Some(Sealed::Part) => return Err(Broken::NotTheObject("size".into()).into()),
                None => "CRC-32 in the archive".to_owned(),
            };
            let mut last = Vec::new();
            let ending = statements.finish(&mut last)?;
            if let Ending::Missing(mark) = ending {
                return Err(Broken::NoEnd(mark).into());
            }
            if server.engine == Engine::Postgresql {
                last.extend_from_slice(b"\nCOMMIT;\n");
            }
            *count += last.len() as u64;
            if let Some(stdin) = &mut client.stdin {
                // A client that ended meanwhile says why.
                let _ = stdin.write_all(&last).await;
            }
            return Ok(Some((*count, proof, ending == Ending::Marked)));
        }
        Ok(None)
    };
    let poured = tokio::select! {
        biased;
        () = halt.cancelled() => Err(Broken::Stopped.into()),
        poured = poured => poured,
    };
    match poured {
        Ok(Some((bytes, proof, marked))) => {
            tokio::select! {
                biased;
                () = halt.cancelled() => return Err(Broken::Stopped.into()),
                ended = client.end() => ended?,
            }
            Ok(Poured { bytes, named: statements.named().map(str::to_owned), proof, marked })
        }
        Ok(None) => {
            client.ended().await?;
            anyhow::bail!("the client ended before it had read all of the dump")
        }
        Err(error) => {
            client.kill().await;
            Err(error)
        }
    }
}

/// Writes all of `sql`; `None` if the client ended before. Nothing ends its stdin.
async fn write(
    client: &mut Client,
    engine: Engine,
    statements: &mut Statements,
    mut sql: Chunks,
) -> anyhow::Result<Option<u64>> {
    let Some(stdin) = &mut client.stdin else { return Ok(None) };
    let mut through = match engine {
        Engine::Postgresql => b"BEGIN;\n".to_vec(),
        Engine::Mariadb => Vec::new(),
    };
    let mut count = 0;
    while let Some(chunk) = sql.recv().await {
        statements.take(&chunk, &mut through)?;
        count += through.len() as u64;
        if stdin.write_all(&through).await.is_err() {
            return Ok(None);
        }
        through.clear();
    }
    if stdin.write_all(&through).await.is_err() {
        return Ok(None);
    }
    Ok(Some(count))
}

fn unpacked(layers: String, after: u64, cause: io::Error) -> anyhow::Error {
    match cause.downcast::<Unread>() {
        Ok(unread) => unread.into(),
        Err(cause) => Broken::Damaged { layers, after, cause }.into(),
    }
}

/// Unpacks until its end, or until nobody wants more. Answers how far it came.
fn unpack(mut reader: impl Read, chunks: &mpsc::Sender<Vec<u8>>) -> (u64, io::Result<()>) {
    let mut count = 0;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        // What came before an error is worth sending: the database shows how far it went.
        let read = reader.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
        let length = chunk.len();
        count += length as u64;
        if length > 0 && chunks.blocking_send(chunk).is_err() {
            return (count, Ok(()));
        }
        match read {
            Ok(0) => return (count, Ok(())),
            Ok(_) => {}
            Err(error) => return (count, Err(error)),
        }
    }
}

/// `pg_restore` and those who feed and read it.
struct Converting {
    program: Client,
    feeding: JoinHandle<()>,
    reading: JoinHandle<()>,
}

impl Converting {
    fn start(mut archive: Chunks, no_owner: bool) -> anyhow::Result<(Self, Chunks)> {
        let mut program = client::pg_restore(no_owner)?;
        let (stdin, stdout) = (program.stdin.take(), program.stdout.take());
        let (sender, sql) = mpsc::channel(WAITING);
        let feeding = tokio::spawn(async move {
            let mut stdin = stdin;
            while let Some(chunk) = archive.recv().await {
                // It may end before the archive does; the rest is read for its checksum.
                if let Some(open) = &mut stdin
                    && open.write_all(&chunk).await.is_err()
                {
                    stdin = None;
                }
            }
        });
        let reading = tokio::spawn(async move {
            let Some(mut stdout) = stdout else { return };
            loop {
                let mut chunk = Vec::with_capacity(CHUNK);
                while chunk.len() < CHUNK && matches!(stdout.read_buf(&mut chunk).await, Ok(1..)) {}
                if chunk.is_empty() || sender.send(chunk).await.is_err() {
                    return;
                }
            }
        });
        Ok((Self { program, feeding, reading }, sql))
    }

    async fn ended(self) -> anyhow::Result<()> {
        let Self { program, feeding, reading } = self;
        feeding.await?;
        reading.await?;
        program.ended().await
    }
}
