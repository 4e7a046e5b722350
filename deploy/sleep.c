/* Stands in front of libfaketime where `deploy/test --at` shifts the clock. libfaketime (0.9.10) takes the end of a
   sleep by the monotonic clock, which it is told to leave alone, for a time of day that it has shifted: time.sleep()
   of Python is "Invalid argument" then. This asks the kernel itself. */

#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
    return syscall(SYS_clock_nanosleep, clock, flags, until, left) ? errno : 0;
}
