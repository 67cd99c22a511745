//! Processes, as plugins will be run.

use std::sync::mpsc;
use std::time::Duration;

use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use telson_host::runtime::{Program, Runtime};

fn program(script: &str) -> Program {
    Program {
        path: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![("WORD".into(), "tide".into())],
        cwd: None,
    }
}

/// Runs async work on a runtime and waits for its outcome.
fn block<R: Runtime, T: Send + 'static>(runtime: &R, work: impl Future<Output = T> + Send + 'static) -> T {
    let (done, outcome) = mpsc::channel();
    runtime.spawn(async move {
        let _ = done.send(work.await);
    });
    outcome.recv_timeout(Duration::from_secs(20)).unwrap()
}

pub fn a_process_reads_writes_and_ends<R: Runtime>(runtime: &R) {
    let (said, complained, code) = block(runtime, {
        let runtime = runtime.clone();
        async move {
            let script = "read line; echo \"$WORD $line $HOME\"; echo 'no moon' >&2; exit 3";
            let mut process = runtime.launch(program(script)).unwrap();
            assert!(process.child.id().is_some());
            process.stdin.write_all(b"and moon\n").await.unwrap();
            process.stdin.close().await.unwrap();
            let (mut said, mut complained) = (String::new(), String::new());
            process.stdout.read_to_string(&mut said).await.unwrap();
            process.stderr.read_to_string(&mut complained).await.unwrap();
            (said, complained, process.child.wait().await.unwrap().code())
        }
    });
    assert_eq!((said.as_str(), complained.as_str(), code), ("tide and moon \n", "no moon\n", Some(3)));
}

pub fn a_process_can_be_killed<R: Runtime>(runtime: &R) {
    let status = block(runtime, {
        let runtime = runtime.clone();
        async move {
            let mut process = runtime.launch(program("exec sleep 600")).unwrap();
            process.child.kill().unwrap();
            process.child.wait().await.unwrap()
        }
    });
    assert!(!status.success());
}

pub fn a_program_that_is_not_there_is_an_error<R: Runtime>(runtime: &R) {
    let error = runtime.launch(Program { path: "/nowhere/at-all".into(), ..Program::default() });
    assert_eq!(error.err().map(|error| error.kind()), Some(std::io::ErrorKind::NotFound));
}

pub fn work_that_panics_is_an_error<R: Runtime>(runtime: &R) {
    let runtime = runtime.clone();
    let fine = block(&runtime.clone(), {
        let runtime = runtime.clone();
        async move { runtime.unblock(|| 41 + 1).await.ok() }
    });
    assert_eq!(fine, Some(42));
    let broken =
        block(&runtime.clone(), async move { runtime.unblock(|| panic!("a test's panic")).await.is_err() });
    assert!(broken);
}
