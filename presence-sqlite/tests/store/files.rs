//! The file: who may open it, and what is in it afterwards.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::support::{ask, at, commit, row, version};
use futures_executor::block_on;
use presence_core::{CheckpointStore, Outcome};
use presence_sqlite::{Durability, OpenError, SqliteConfig, SqliteStore, rusqlite::Connection};

fn open(path: &Path) -> SqliteStore {
    block_on(SqliteStore::open(path)).unwrap()
}

fn write(store: &SqliteStore, name: &str) -> Outcome {
    block_on(store.commit(vec![commit(name, None, &[row("Working", 1000)])])).unwrap().remove(0)
}

fn rows(store: &SqliteStore, name: &str) -> usize {
    block_on(store.load(vec![ask(name, 2000, 2000)])).unwrap()[0].rows.len()
}

/// The content of every file in a directory.
pub(crate) fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut content: Vec<_> = files.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    content.sort();
    content
}

#[test]
fn what_was_committed_is_there_after_closing_and_dropping() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let store = open(&path);
    let first = version(&write(&store, "alice"));
    block_on(store.close());
    drop(store);
    let config = SqliteConfig::new(&path).durability(Durability::Process).readers(0);
    let store = block_on(SqliteStore::open_with(config)).unwrap();
    let second = version(&write(&store, "bob"));
    assert!(second > first, "versions never restart");
    drop(store);
    let store = open(&path);
    assert_eq!((rows(&store, "alice"), rows(&store, "bob")), (1, 1));
    drop(store);
    let left: Vec<_> = content(dir.path()).into_iter().map(|(path, _)| path).collect();
    assert_eq!(left, [path, dir.path().join("a.db-lock")], "the log is in the file");
}

#[test]
fn opening_again_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    write(&open(&path), "alice");
    let before = fs::read(&path).unwrap();
    drop(open(&path));
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn a_closed_store_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("a.db"));
    block_on(store.close());
    block_on(store.close());
    let error = block_on(store.load(vec![ask("alice", 1, 1)])).unwrap_err();
    assert!(error.is_retryable());
    assert!(block_on(store.overdue(at(1), 1)).unwrap_err().is_retryable());
}

#[test]
fn what_was_asked_before_a_close_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let store = open(&path);
    let names: Vec<_> = (0..500).map(|n| format!("user{n}")).collect();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let commits = names.iter().map(|name| store.commit(vec![commit(name, None, &[row("Working", 1000)])]));
    let mut asked: Vec<_> = commits.collect();
    asked.iter_mut().for_each(|commit| drop(commit.as_mut().poll(&mut context)));
    drop(asked);
    drop(store);
    let store = open(&path);
    assert!(names.iter().all(|name| rows(&store, name) == 1));
}

#[test]
fn a_second_owner_in_the_same_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let store = open(&path);
    write(&store, "alice");
    let before = content(dir.path());
    let Err(OpenError::Owned { holder }) = block_on(SqliteStore::open(&path)) else { panic!("two owners") };
    assert_eq!(holder, Some(std::process::id()));
    assert!(content(dir.path()) == before, "something was touched");
    write(&store, "bob");
}

#[test]
fn a_foreign_file_is_refused_and_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (text, tables, marked) = (dir.path().join("a.txt"), dir.path().join("b.db"), dir.path().join("c.db"));
    fs::write(
        &text,
        "not a database, but long enough to be taken for the header of one, page and all".repeat(9),
    )
    .unwrap();
    Connection::open(&tables).unwrap().execute_batch("CREATE TABLE theirs (a INTEGER)").unwrap();
    Connection::open(&marked).unwrap().execute_batch("PRAGMA application_id = 7").unwrap();
    for path in [text, tables, marked] {
        let before = fs::read(&path).unwrap();
        let opened = block_on(SqliteStore::open(&path));
        assert!(matches!(opened, Err(OpenError::Foreign)), "{opened:?}");
        assert!(fs::read(&path).unwrap() == before);
    }
}

#[test]
fn a_path_that_leads_nowhere_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let opened = block_on(SqliteStore::open(dir.path().join("missing").join("a.db")));
    assert!(matches!(opened, Err(OpenError::Io(_))), "{opened:?}");
    let opened = block_on(SqliteStore::open(dir.path()));
    assert!(matches!(opened, Err(OpenError::Io(_))), "{opened:?}");
}

#[test]
fn a_path_is_taken_literally() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file:a.db?mode=memory");
    drop(open(&path));
    assert!(path.exists());
}

#[cfg(unix)]
#[test]
fn files_are_private_to_their_owner() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("a.db"));
    write(&store, "alice");
    let files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(files.len(), 4, "{files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn a_store_in_memory_needs_no_file() {
    let store = open(Path::new(":memory:"));
    write(&store, "alice");
    assert_eq!(rows(&store, "alice"), 1);
    assert_eq!(block_on(store.overdue(at(2000), 10)).unwrap().len(), 1);
    block_on(store.vacuum()).unwrap();
    assert_eq!(rows(&store, "alice"), 1);
    assert!(!Path::new(":memory:").exists());
}
