//! The kernel struct fields that the programs read.
//!
//! rustc emits no CO-RE relocations, so no offset is compiled in: the agent resolves each of these
//! from the running kernel's BTF and writes it into the programs' read-only data before they are
//! verified; the verifier then sees constants. [`ABSENT`] stands for a field that this kernel does
//! not have, or for all of them on a kernel without BTF; what reads it is then dead code.

/// Offset of a field that is not known.
pub const ABSENT: u32 = u32::MAX;

macro_rules! layout {
    ($($name:ident: $structure:literal . $path:literal;)*) => {
        /// Byte offsets of the fields, resolved for the running kernel.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Layout { $(#[doc = concat!("`", $structure, ".", $path, "`")] pub $name: u32,)* }

        impl Layout {
            /// Nothing is known.
            pub const UNKNOWN: Self = Self { $($name: ABSENT,)* };

            /// Every field: its name here, the kernel struct, and the dotted path in it; an empty path
            /// is the end of the struct.
            pub const FIELDS: &'static [(&'static str, &'static str, &'static str)] =
                &[$((stringify!($name), $structure, $path),)*];

            /// Resolves every field by `offset_of(struct, path)`; those it knows not stay [`ABSENT`].
            pub fn resolve(mut offset_of: impl FnMut(&str, &str) -> Option<u32>) -> Self {
                Self { $($name: offset_of($structure, $path).unwrap_or(ABSENT),)* }
            }

            /// The offsets, in the order of [`Self::FIELDS`]: the layout's bytes in memory.
            #[must_use]
            #[cfg(feature = "std")]
            pub fn words(&self) -> Vec<u32> {
                vec![$(self.$name,)*]
            }

            /// The fields that are not known, by name.
            pub fn absent(&self) -> impl Iterator<Item = &'static str> + use<> {
                [$((stringify!($name), self.$name),)*]
                    .into_iter()
                    .filter(|(_, offset)| *offset == ABSENT)
                    .map(|(name, _)| name)
            }
        }
    };
}

layout! {
    task_group_leader: "task_struct"."group_leader";
    task_real_parent: "task_struct"."real_parent";
    task_tgid: "task_struct"."tgid";
    task_pid: "task_struct"."pid";
    task_start_boottime: "task_struct"."start_boottime";
    task_self_exec_id: "task_struct"."self_exec_id";
    task_loginuid: "task_struct"."loginuid";
    task_cred: "task_struct"."cred";
    task_nsproxy: "task_struct"."nsproxy";
    task_thread_pid: "task_struct"."thread_pid";
    task_mm: "task_struct"."mm";
    task_fs: "task_struct"."fs";
    task_files: "task_struct"."files";
    task_signal: "task_struct"."signal";
    task_exit_code: "task_struct"."exit_code";
    signal_live: "signal_struct"."live";
    signal_tty: "signal_struct"."tty";
    signal_group_exit_code: "signal_struct"."group_exit_code";
    tty_name: "tty_struct"."name";
    cred_euid: "cred"."euid";
    cred_cap_effective: "cred"."cap_effective";
    nsproxy_mnt_ns: "nsproxy"."mnt_ns";
    nsproxy_net_ns: "nsproxy"."net_ns";
    mnt_namespace_inum: "mnt_namespace"."ns.inum";
    net_inum: "net"."ns.inum";
    pid_namespace_inum: "pid_namespace"."ns.inum";
    pid_level: "pid"."level";
    pid_numbers: "pid"."numbers";
    upid_ns: "upid"."ns";
    mm_exe_file: "mm_struct"."exe_file";
    mm_arg_start: "mm_struct"."arg_start";
    mm_arg_end: "mm_struct"."arg_end";
    mm_env_start: "mm_struct"."env_start";
    mm_env_end: "mm_struct"."env_end";
    fs_pwd: "fs_struct"."pwd";
    fs_root: "fs_struct"."root";
    files_fdt: "files_struct"."fdt";
    fdtable_fd: "fdtable"."fd";
    fdtable_max_fds: "fdtable"."max_fds";
    file_path: "file"."f_path";
    file_inode: "file"."f_inode";
    file_flags: "file"."f_flags";
    file_mode: "file"."f_mode";
    file_private_data: "file"."private_data";
    path_mnt: "path"."mnt";
    path_dentry: "path"."dentry";
    dentry_parent: "dentry"."d_parent";
    dentry_inode: "dentry"."d_inode";
    dentry_name: "dentry"."d_name";
    dentry_hash_link: "dentry"."d_hash.pprev";
    dentry_super: "dentry"."d_sb";
    super_dev: "super_block"."s_dev";
    super_magic: "super_block"."s_magic";
    super_type: "super_block"."s_type";
    file_system_name: "file_system_type"."name";
    inode_number: "inode"."i_ino";
    inode_mode: "inode"."i_mode";
    inode_owner: "inode"."i_uid";
    inode_group: "inode"."i_gid";
    inode_links: "inode"."i_nlink";
    inode_super: "inode"."i_sb";
    inode_end: "inode"."";
    mount_mnt: "mount"."mnt";
    mount_parent: "mount"."mnt_parent";
    mount_mountpoint: "mount"."mnt_mountpoint";
    mount_devname: "mount"."mnt_devname";
    mount_namespace: "mount"."mnt_ns";
    mount_id: "mount"."mnt_id";
    vfsmount_root: "vfsmount"."mnt_root";
    vfsmount_super: "vfsmount"."mnt_sb";
    vfsmount_flags: "vfsmount"."mnt_flags";
    bprm_file: "linux_binprm"."file";
    bprm_filename: "linux_binprm"."filename";
    bprm_interp: "linux_binprm"."interp";
    socket_type: "socket"."type";
    socket_sk: "socket"."sk";
    sock_protocol: "sock"."sk_protocol";
    sock_family: "sock"."__sk_common.skc_family";
    sock_port: "sock"."__sk_common.skc_num";
    sock_address: "sock"."__sk_common.skc_rcv_saddr";
    sock_address6: "sock"."__sk_common.skc_v6_rcv_saddr";
    sock_peer_port: "sock"."__sk_common.skc_dport";
    sock_peer_address: "sock"."__sk_common.skc_daddr";
    sock_peer_address6: "sock"."__sk_common.skc_v6_daddr";
    sock_socket: "sock"."sk_socket";
    unix_path: "unix_sock"."path";
    unix_address: "unix_sock"."addr";
    unix_address_length: "unix_address"."len";
    unix_address_name: "unix_address"."name";
    message_name: "msghdr"."msg_name";
    message_name_length: "msghdr"."msg_namelen";
}
