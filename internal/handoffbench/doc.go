// Package handoffbench measures, on a real broker, how long a lane's messages wait when they change hands, and judges that
// none is lost or handled twice (G5, G6).
//
// The lane and its stand-ins are child processes: this program's own binary, executed again. While messages of the lane are
// sent at a steady rate, each round does
//
//  1. the lane's return: a process of the lane joins, and the stand-ins give its queues up;
//  2. a clean stop: it is told to shut its consumer down, and stand-ins take over;
//  3. another return;
//  4. a crash: that process is killed (SIGKILL), and stand-ins take over.
//
// What is timed is what an operator waits for: from the moment at which the process is killed, is told to stop, or calls its
// consumer's Start (its own start-up isn't counted, Start's checks with the broker are) to the moment at which the other
// side's first handler of one of the lane's messages begins. A stop's time therefore holds the handlers that still run, and
// all of them the wait for a next message. Beside it stands the time to when each queue of the topic has such a
// message: the last queue's. All times are wall-clock times of one host.
//
// A program that runs it calls [MemberMain] as one of the first statements of main (a test binary: of TestMain).
package handoffbench
