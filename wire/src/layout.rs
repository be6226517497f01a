//! What of the running kernel the programs need to know: where the fields of its structs stand, which
//! argument of a function is which, what the values of an enum are.
//!
//! rustc emits no CO-RE relocations, so nothing of this is compiled in: the agent resolves each
//! from the running kernel's BTF and writes it into the programs' read-only data before they are
//! verified; the verifier then sees constants. [`ABSENT`] stands for what this kernel does not
//! have, or for all of it on a kernel without BTF; what reads it is then dead code.

/// What is not known.
pub const ABSENT: u32 = u32::MAX;

/// Where something is found in BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Byte offset of a field: its struct and the dotted path in it, or several between which it was
    /// renamed, separated by bars.
    Field(&'static str, &'static str),
    /// Number, from 0, of a function's parameter: the function and the parameter's name.
    Parameter(&'static str, &'static str),
    /// Value of an enum: the enum and the value's name.
    Value(&'static str, &'static str),
}

macro_rules! layout {
    (
        fields { $($name:ident: $structure:literal . $path:literal;)* }
        parameters { $($parameter:ident: $function:literal . $argument:literal;)* }
        values { $($value:ident: $enum:literal . $variant:literal;)* }
    ) => {
        /// What was resolved for the running kernel.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Layout {
            $(#[doc = concat!("Offset of `", $structure, ".", $path, "`")] pub $name: u32,)*
            $(#[doc = concat!("Parameter `", $argument, "` of `", $function, "`")] pub $parameter: u32,)*
            $(#[doc = concat!("`", $variant, "` of `enum ", $enum, "`")] pub $value: u32,)*
        }

        impl Layout {
            /// Nothing is known.
            pub const UNKNOWN: Self = Self {
                $($name: ABSENT,)*
                $($parameter: ABSENT,)*
                $($value: ABSENT,)*
            };

            /// Everything by its name here, and where it is found.
            pub const ENTRIES: &'static [(&'static str, Source)] = &[
                $((stringify!($name), Source::Field($structure, $path)),)*
                $((stringify!($parameter), Source::Parameter($function, $argument)),)*
                $((stringify!($value), Source::Value($enum, $variant)),)*
            ];

            /// Resolves everything; what `find` does not find stays [`ABSENT`].
            pub fn resolve(mut find: impl FnMut(Source) -> Option<u32>) -> Self {
                Self {
                    $($name: find(Source::Field($structure, $path)).unwrap_or(ABSENT),)*
                    $($parameter: find(Source::Parameter($function, $argument)).unwrap_or(ABSENT),)*
                    $($value: find(Source::Value($enum, $variant)).unwrap_or(ABSENT),)*
                }
            }

            /// The numbers, in the order of [`Self::ENTRIES`]: the layout's bytes in memory.
            #[must_use]
            #[cfg(feature = "std")]
            pub fn words(&self) -> Vec<u32> {
                vec![$(self.$name,)* $(self.$parameter,)* $(self.$value,)*]
            }

            /// What is not known, by name.
            pub fn absent(&self) -> impl Iterator<Item = &'static str> + use<> {
                [
                    $((stringify!($name), self.$name),)*
                    $((stringify!($parameter), self.$parameter),)*
                    $((stringify!($value), self.$value),)*
                ]
                .into_iter()
                .filter(|(_, number)| *number == ABSENT)
                .map(|(name, _)| name)
            }
        }
    };
}

layout! {
fields {
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
    signal_limits: "signal_struct"."rlim";
    signal_tty: "signal_struct"."tty";
    signal_group_exit_code: "signal_struct"."group_exit_code";
    tty_name: "tty_struct"."name";
    cred_uid: "cred"."uid";
    cred_gid: "cred"."gid";
    cred_groups: "cred"."group_info";
    groups_count: "group_info"."ngroups";
    groups_ids: "group_info"."gid";
    cred_euid: "cred"."euid";
    cred_suid: "cred"."suid";
    cred_fsuid: "cred"."fsuid";
    cred_egid: "cred"."egid";
    cred_sgid: "cred"."sgid";
    cred_fsgid: "cred"."fsgid";
    cred_cap_effective: "cred"."cap_effective";
    cred_cap_permitted: "cred"."cap_permitted";
    cred_cap_inheritable: "cred"."cap_inheritable";
    cred_user_ns: "cred"."user_ns";
    user_namespace_inum: "user_namespace"."ns.inum";
    user_namespace_parent: "user_namespace"."parent";
    user_namespace_level: "user_namespace"."level";
    user_namespace_owner: "user_namespace"."owner";
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
    super_root: "super_block"."s_root";
    super_mounts: "super_block"."s_mounts";
    super_type: "super_block"."s_type";
    file_system_name: "file_system_type"."name";
    inode_number: "inode"."i_ino";
    inode_mode: "inode"."i_mode";
    inode_owner: "inode"."i_uid";
    inode_group: "inode"."i_gid";
    inode_links: "inode"."i_nlink";
    inode_super: "inode"."i_sb";
    inode_private: "inode"."i_private";
    // Which type a namespace has: by its operations up to 6.17, by itself from 6.18 on.
    ns_operations: "ns_common"."ops";
    ns_operations_type: "proc_ns_operations"."type";
    ns_type: "ns_common"."ns_type";
    ipc_key: "kern_ipc_perm"."key";
    ipc_id: "kern_ipc_perm"."id";
    ipc_mode: "kern_ipc_perm"."mode";
    ipc_owner: "kern_ipc_perm"."uid";
    inode_end: "inode"."";
    mount_mnt: "mount"."mnt";
    mount_parent: "mount"."mnt_parent";
    mount_mountpoint: "mount"."mnt_mountpoint";
    mount_devname: "mount"."mnt_devname";
    mount_ns: "mount"."mnt_ns";
    mount_id: "mount"."mnt_id";
    // Of the list of a superblock's mounts: the first up to 6.16, the second from 6.17 on.
    mount_instance: "mount"."mnt_instance";
    mount_next_for_sb: "mount"."mnt_next_for_sb";
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
    task_personality: "task_struct"."personality";
    task_pid_links: "task_struct"."pid_links";
    pid_tasks: "pid"."tasks";
    proc_inode_pid: "proc_inode"."pid";
    proc_inode_inode: "proc_inode"."vfs_inode";
    vma_start: "vm_area_struct"."vm_start";
    vma_end: "vm_area_struct"."vm_end";
    vma_flags: "vm_area_struct"."vm_flags";
    vma_file: "vm_area_struct"."vm_file";
    vma_mm: "vm_area_struct"."vm_mm";
    mm_start_brk: "mm_struct"."start_brk";
    mm_brk: "mm_struct"."brk";
    mm_start_stack: "mm_struct"."start_stack";
    message_name: "msghdr"."msg_name";
    message_name_length: "msghdr"."msg_namelen";
    message_flags: "msghdr"."msg_flags";
    message_iterator: "msghdr"."msg_iter";
    // Up to 5.13 the first, from 5.14 on the second.
    iterator_type_and_direction: "iov_iter"."type";
    iterator_type: "iov_iter"."iter_type";
    iterator_offset: "iov_iter"."iov_offset";
    iterator_count: "iov_iter"."count";
    iterator_segments: "iov_iter"."nr_segs";
    iterator_vector: "iov_iter"."iov|__iov";
    iterator_buffer: "iov_iter"."ubuf";
    packet_data: "sk_buff"."data";
    packet_length: "sk_buff"."len";
    packet_length_elsewhere: "sk_buff"."data_len";
}
parameters {
    // From 5.12 on behind the mapping of the mount's ids.
    set_xattr_dentry: "security_inode_setxattr"."dentry";
    remove_xattr_dentry: "security_inode_removexattr"."dentry";
    // The second, still in 6.12; the only one in 7.x.
    perf_event_type: "security_perf_event_open"."type";
}
values {
    reading_module: "kernel_read_file_id"."READING_MODULE";
    reading_module_compressed: "kernel_read_file_id"."READING_MODULE_COMPRESSED";
    reading_kexec_image: "kernel_read_file_id"."READING_KEXEC_IMAGE";
    loading_module: "kernel_load_data_id"."LOADING_MODULE";
    loading_kexec_image: "kernel_load_data_id"."LOADING_KEXEC_IMAGE";
    iterator_of_vector: "iter_type"."ITER_IOVEC";
    // Since 6.0.
    iterator_of_buffer: "iter_type"."ITER_UBUF";
}
}
