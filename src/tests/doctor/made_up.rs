//! Hosts that are made up: a folder with the files that the doctor reads.

use crate::host::{Scratch, text};
use std::fs;
use steadfast::doctor::{Host, Tree};

pub(crate) const MIB: u64 = 1 << 20;

/// A folder that is read as if it were `/`.
#[derive(Debug)]
pub(crate) struct MadeUp(Scratch);

impl MadeUp {
    pub(crate) fn empty() -> Self {
        Self(Scratch::new())
    }

    /// A host of 16 GiB with the limits that Debian has, for a user without privileges, in no container.
    pub(crate) fn host() -> Self {
        let made_up = Self::empty();
        let sysctls = [
            ("fs/nr_open", "1048576"),
            ("fs/file-max", "9223372036854775807"),
            ("fs/file-nr", "2000\t0\t9223372036854775807"),
            ("fs/epoll/max_user_watches", "3600000"),
            ("kernel/threads-max", "127000"),
            ("kernel/pid_max", "4194304"),
            ("net/core/somaxconn", "4096"),
            ("net/core/netdev_max_backlog", "1000"),
            ("net/ipv4/ip_local_port_range", "32768\t60999"),
            ("net/ipv4/ip_local_reserved_ports", ""),
            ("net/ipv4/tcp_max_syn_backlog", "1024"),
            ("net/ipv4/tcp_syncookies", "1"),
            ("net/ipv4/tcp_mem", "188000\t251000\t376000"),
            ("net/ipv4/tcp_max_orphans", "65536"),
            ("net/ipv4/tcp_max_tw_buckets", "65536"),
        ];
        for (name, value) in sysctls {
            made_up.sysctl(name, value);
        }
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             63000                63000                processes \n\
                      Max open files            1024                 1048576              files     \n";
        made_up.file("proc/self/limits", limits);
        made_up.file("proc/self/status", "Name:\tdoctor\nUid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\n");
        made_up.file("proc/self/uid_map", "         0          0 4294967295\n");
        made_up.file("proc/meminfo", "MemTotal:       16000000 kB\nMemAvailable:   12000000 kB\n");
        made_up.file("proc/loadavg", "0.10 0.20 0.30 1/400 12345\n");
        made_up.file("proc/self/cgroup", "0::/\n");
        made_up.file("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        made_up
    }

    pub(crate) fn file(&self, path: &str, content: &str) {
        let file = self.0.file(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("its folder");
        fs::write(file, content).expect("a file");
    }

    pub(crate) fn sysctl(&self, name: &str, value: &str) {
        self.file(&format!("proc/sys/{name}"), &format!("{value}\n"));
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.0.file(path)).expect("it was there");
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree::new(text(&self.0.file("")))
    }

    /// What the doctor reads of it, on two cores whatever the tests run on.
    pub(crate) fn read(&self) -> Host {
        Host { cores: 2, ..Host::read(&self.tree()) }
    }
}
