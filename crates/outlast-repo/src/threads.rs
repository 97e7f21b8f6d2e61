//! Running the same work on several threads.

use crate::RepoError;

/// Runs `work` on so many threads and gives the first error, in the order of the threads.
pub(crate) fn run(
    threads: usize,
    work: &(dyn Fn() -> Result<(), RepoError> + Sync),
) -> Result<(), RepoError> {
    if threads <= 1 {
        return work();
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut result = Ok(());
        for worker in workers {
            match worker.join() {
                Ok(one) => result = result.and(one),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        result
    })
}
