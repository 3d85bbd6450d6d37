// Package proc supervises child processes that must never outlive the program that started them.
//
// A Group holds any number of processes. All of them are children of one guard: the program's own binary, executed again,
// which holds the read end of a pipe whose write end only the supervisor has. However the supervisor ends, kill -9 included,
// the kernel closes that pipe; the guard then sends SIGTERM to every child's process group, SIGKILL a grace later, and
// leaves. A child is started in a process group of its own, so that whatever it starts ends with it; on Linux the guard is
// also the reaper of orphans below it, so that a grandchild that left the group is found at the end. On Linux a child dies
// with its guard, too (PR_SET_PDEATHSIG), so killing both supervisor and guard leaves nothing either.
//
// A program that uses a Group calls GuardMain as the first statement of main (a test binary: of TestMain).
//
// The package works on Linux and on Darwin. On Darwin nothing tells a child that its guard was killed, and grandchildren
// that leave their process group are not found; all else holds there as well.
package proc
