//! Buffers that a test writes to instead of the kernel.

use super::*;

const BYTES: usize = MIN_BYTES as usize;

/// A buffer whose positions begin at `position`.
pub(in super::super) fn buffer(position: u64) -> Buffer {
    let memory = Memory::map(None, BYTES).unwrap();
    memory.head().store(position, Ordering::Relaxed);
    memory.tail().store(position, Ordering::Relaxed);
    let event = std::fs::File::open("/dev/null").unwrap().into();
    Buffer {
        head: position,
        tail: position,
        ..Buffer::over(event, memory)
    }
}

/// Writes what the kernel writes, as `perf_output_sample` does; `false` when it does not fit.
pub(in super::super) fn write(buffer: &Buffer, kind: u32, content: &[u8]) -> bool {
    let memory = &buffer.memory;
    let mut bytes = vec![0; 8];
    if kind == PERF_RECORD_SAMPLE as u32 {
        let raw = (4 + content.len()).next_multiple_of(8) - 4;
        bytes.extend((raw as u32).to_ne_bytes());
    }
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(8), 0xee);
    bytes[..4].copy_from_slice(&kind.to_ne_bytes());
    let size = bytes.len() as u16;
    bytes[6..8].copy_from_slice(&size.to_ne_bytes());
    let head = memory.head().load(Ordering::Relaxed);
    let free = BYTES as u64 - (head - memory.tail().load(Ordering::Acquire));
    if bytes.len() as u64 > free {
        return false;
    }
    for (index, byte) in bytes.iter().enumerate() {
        let offset = memory.page + memory.offset(head + index as u64);
        // SAFETY: within the mapping, at a place that is free.
        unsafe { memory.mapping.address().as_ptr().add(offset).write(*byte) };
    }
    memory
        .head()
        .store(head + bytes.len() as u64, Ordering::Release);
    true
}

/// A record with a time; the rest of it tells it from others.
pub(in super::super) fn record(boottime: u64, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length.max(size_of::<Header>()))
        .map(|at| at as u8)
        .collect();
    let length = bytes.len() as u32;
    bytes[4..8].copy_from_slice(&length.to_ne_bytes());
    let at = offset_of!(Header, boottime);
    bytes[at..at + 8].copy_from_slice(&boottime.to_ne_bytes());
    bytes
}
