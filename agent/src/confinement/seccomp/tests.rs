//! The filter in force in a thread.
#![allow(unsafe_code)] // system calls by their numbers

use super::*;

/// What a call returns for arguments that point nowhere.
fn called(number: libc::c_long, argument: u8, value: libc::c_long) -> Option<i32> {
    let mut arguments: [libc::c_long; 4] = [-1; 4];
    arguments[usize::from(argument)] = value;
    let [a, b, c, d] = arguments;
    // SAFETY: no argument is the address of anything, so that nothing is read or written in this process; what the
    // calls below would do without one is refused, or does nothing.
    let result = unsafe { libc::syscall(number, a, b, c, d, -1, -1) };
    (result < 0).then(|| {
        std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or_default()
    })
}

/// In a thread that has the filter, and that alone.
fn filtered<T: Send>(deed: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            seccompiler::apply_filter(&program().unwrap()).unwrap();
            deed()
        });
        thread.join().unwrap()
    })
}

#[test]
fn what_is_refused_is_refused_and_nothing_else() {
    const EPERM: Option<i32> = Some(libc::EPERM);
    let all = REFUSED.iter().chain(&OF_MACHINE);
    for (name, number) in all.flat_map(|refused| refused.calls) {
        assert_eq!(filtered(|| called(*number, 0, -1)), EPERM, "{name}");
    }
    // It is the filter that says so.
    let execve = ("SYS_execve", libc::SYS_execve);
    assert_eq!(called(execve.1, 0, -1), Some(libc::EFAULT));
    assert_eq!(filtered(|| called(libc::SYS_getppid, 0, -1)), None);
    assert!(filtered(|| std::fs::read("/proc/self/status").is_ok()));
}

#[test]
fn what_is_done_in_one_way_is_refused_in_others() {
    for narrowed in &NARROWED {
        let (name, number) = narrowed.call;
        let with = |value: libc::c_int| {
            filtered(|| called(number, narrowed.argument, libc::c_long::from(value)))
        };
        // Others may not open by handles at all.
        if rustix::process::geteuid().is_root() {
            assert_ne!(with(narrowed.allowed), Some(libc::EPERM), "{name}");
        }
        assert_eq!(with(0x7ead), Some(libc::EPERM), "{name}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn no_call_of_x32_is_made() {
    let getppid = (1 << 30) + libc::SYS_getppid;
    assert_eq!(filtered(|| called(getppid, 0, -1)), Some(libc::EPERM));
}

#[test]
fn each_deed_is_told_of_with_its_calls() {
    let told = refused();
    assert_eq!(told["run programs"], ["execve", "execveat"]);
    assert_eq!(told["make namespaces"], ["unshare"]);
}

#[test]
fn threads_are_made_and_namespaces_are_not() {
    for flag in NEW_NAMESPACES {
        // No stack for the child: without the filter clone would fork, so that it is tried with what makes it fail
        // after (CLONE_SIGHAND without CLONE_VM is EINVAL).
        let flags = libc::c_long::from(flag | libc::CLONE_SIGHAND);
        let refused = filtered(|| called(libc::SYS_clone, 0, flags));
        assert_eq!(refused, Some(libc::EPERM), "{flag:#x}");
    }
    let sighand = libc::c_long::from(libc::CLONE_SIGHAND);
    assert_eq!(
        filtered(|| called(libc::SYS_clone, 0, sighand)),
        Some(libc::EINVAL)
    );
    assert_eq!(
        filtered(|| called(libc::SYS_clone3, 0, -1)),
        Some(libc::ENOSYS)
    );
    assert!(filtered(|| std::thread::spawn(|| 7).join().unwrap()) == 7);
}
