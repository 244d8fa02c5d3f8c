//! The memory that loading takes for a moment.

/// Gives what the allocator keeps of it back to the system. What reads the kernel's types allocates in
/// small pieces, which GNU's allocator would keep for as long as the process runs (`malloc_trim(3)`).
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it has no precondition.
    unsafe {
        libc::malloc_trim(0);
    }
}
