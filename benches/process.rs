//! What a process uses, as Linux says it.

use std::{fs, time::Duration};

/// Ticks of `/proc/PID/stat` in a second, on every Linux.
const TICKS: u64 = 100;

/// The processor time of a process so far, to 10 ms; `None` where there is no such process, or no `/proc`.
#[must_use]
pub fn cpu(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in brackets, may hold anything.
    let fields = stat.get(stat.rfind(')')? + 2..)?;
    let ticks: u64 =
        fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().ok()).sum::<Option<_>>()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}

/// The memory of a process that is resident, in bytes; `None` where there is no such process, or no `/proc`.
#[must_use]
pub fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kib.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// How many descriptors a process has open; `None` where there is no such process, or no `/proc`.
#[must_use]
pub fn descriptors(pid: u32) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}
