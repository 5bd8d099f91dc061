//! Child processes.

use crate::table::{Case, Log, answered, let_it_block, pipe, read, read_all};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

/// The cases.
pub const TABLE: &[Case] = &[
    Case {
        name: "waitpid waits for one child",
        run: wait_one,
    },
    Case {
        name: "waitpid without waiting",
        run: no_wait,
    },
    Case {
        name: "waitid tells and leaves, or takes",
        run: wait_id,
    },
    Case {
        name: "waiting for what is no child",
        run: no_child,
    },
    Case {
        name: "a stopped child",
        run: stopped,
    },
    Case {
        name: "fork and exec with pipes",
        run: fork_and_exec,
    },
    Case {
        name: "std's Command with all its pipes",
        run: command,
    },
];

fn shell(script: &str) -> std::process::Child {
    Command::new("sh")
        .args(["-c", script])
        .spawn()
        .expect("a shell")
}

fn wait_pid(pid: i32, options: i32) -> (String, i32) {
    let mut status = 0;
    // SAFETY: room for a status.
    let result = unsafe { libc::waitpid(pid, &mut status, options) };
    let answer = if result == pid {
        "it".into()
    } else {
        answered(result.into())
    };
    (answer, status)
}

fn wait_one(log: &mut Log) {
    let child = shell("sleep 0.05; exit 7");
    let pid = child.id() as i32;
    let (answer, status) = wait_pid(pid, 0);
    log.note("waitpid", answer);
    log.note("status", libc::WEXITSTATUS(status));
    log.note("again", wait_pid(pid, 0));
    let child = shell("sleep 0.05; kill -TERM $$");
    let mut status = 0;
    // SAFETY: zeros are a usage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let pid = child.id() as i32;
    // SAFETY: room for a status and a usage.
    let result = unsafe { libc::wait4(pid, &mut status, 0, &mut usage) };
    log.note("wait4", result == pid);
    log.note("killed by", libc::WTERMSIG(status));
}

fn no_wait(log: &mut Log) {
    let mut child = Command::new("sh")
        .args(["-c", "read line"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    let pid = child.id() as i32;
    log.note("it lives", wait_pid(pid, libc::WNOHANG));
    drop(child.stdin.take());
    let (answer, status) = wait_pid(pid, 0);
    log.note("it ended", (answer, libc::WEXITSTATUS(status)));
}

fn wait_id(log: &mut Log) {
    let child = shell("sleep 0.05; exit 5");
    // SAFETY: zeros are a structure of nothing.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOWAIT;
    // SAFETY: room for the structure.
    let result = unsafe { libc::waitid(libc::P_PID, child.id(), &mut info, flags) };
    log.answer("look", result);
    // SAFETY: the call wrote it, for a child.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    log.note("which", pid as u32 == child.id());
    log.note("status", (status, info.si_code));
    // SAFETY: as above.
    let result = unsafe { libc::waitid(libc::P_PID, child.id(), &mut info, libc::WEXITED) };
    log.answer("take", result);
    // SAFETY: as above.
    let result = unsafe { libc::waitid(libc::P_PID, child.id(), &mut info, libc::WEXITED) };
    log.answer("gone", result);
    // SAFETY: refused by its options.
    let result = unsafe { libc::waitid(libc::P_PID, child.id(), &mut info, 0) };
    log.answer("no options", result);
}

fn no_child(log: &mut Log) {
    log.note("init", wait_pid(1, 0));
    log.note("unknown options", wait_pid(1, 0x4000));
}

fn stopped(log: &mut Log) {
    let child = shell("kill -STOP $$; exit 3");
    let pid = child.id() as i32;
    let (answer, status) = wait_pid(pid, libc::WUNTRACED);
    log.note("stopped", (answer, libc::WIFSTOPPED(status)));
    // SAFETY: takes numbers only.
    log.answer("go on", unsafe { libc::kill(pid, libc::SIGCONT) });
    let (answer, status) = wait_pid(pid, 0);
    log.note("ended", (answer, libc::WEXITSTATUS(status)));
}

fn fork_and_exec(log: &mut Log) {
    let (reader, writer) = pipe(0);
    let program = c"/bin/echo";
    let arguments = [
        program.as_ptr(),
        c"from the child".as_ptr(),
        std::ptr::null(),
    ];
    // SAFETY: the child calls only functions that are safe after a fork.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: as above.
        unsafe {
            libc::dup2(writer.as_raw_fd(), 1);
            libc::close(reader.as_raw_fd());
            libc::write(1, b"before exec; ".as_ptr().cast(), 13);
            libc::execv(program.as_ptr(), arguments.as_ptr());
            libc::_exit(127);
        }
    }
    drop(writer);
    log.note("said", String::from_utf8(read_all(reader.as_raw_fd())));
    let (answer, status) = wait_pid(pid, 0);
    log.note("ended", (answer, libc::WEXITSTATUS(status)));
    log.note("end", read(reader.as_raw_fd(), 1));
}

fn command(log: &mut Log) {
    let mut child = Command::new("sh")
        .args([
            "-c",
            "while read line; do echo \"got $line\"; done; echo bye >&2",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut stdin = child.stdin.take().expect("it is piped");
    let helper = log.help(move || {
        for number in 0..2000 {
            writeln!(stdin, "{number}").expect("it reads");
        }
        let_it_block();
    });
    let mut said = String::new();
    let mut stdout = child.stdout.take().expect("it is piped");
    stdout.read_to_string(&mut said).expect("it writes text");
    helper.join();
    log.note("lines", said.lines().count());
    log.note("last", said.lines().last());
    let output = child.wait_with_output().expect("it ended");
    log.note("error", (output.stderr, output.status.code()));
}
