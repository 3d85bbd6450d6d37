// Package ownership decides who handles a queue of a lane's consumer group, and when it changes hands. It does no I/O,
// starts no goroutine and reads no clock: what happened comes in as a value, what is to be done goes out as one, so that all
// interleavings of small cases can be searched over the very code that ships (see the tests).
//
// A lane's group has two kinds of members: the lane's own instances, and baseline instances as stand-ins.
// Every member computes the same [Allocate] from the broker's list of client ids and the mode alone. Members can hold
// different lists or modes for a while; what keeps them apart is the broker's queue lock:
//
//   - Nobody begins a message without the queue's lock, and nothing is begun between the lock and the first read of the
//     committed offset: so whoever begins, begins where the last owner committed.
//   - Who gives a queue up stops beginning, waits for what is in flight, commits, waits for the commit's answer,
//     and only then unlocks: so a planned handoff repeats nothing.
//   - An owner's right to begin ends when its connection is gone, or 50 s after it sent the last renewal that was
//     granted; the broker lets the lock lapse after 60 s: so an owner that is cut off has stopped before another can start.
//   - A lock that was lost is not followed by a commit: it would move back what the next owner has committed.
//   - A lock whose holder died is unlocked on its behalf by a member that saw the holder in a list and no longer finds it in
//     one read after the refusal. A holder that nobody alive has seen is waited out.
//   - Who comes back after a lost connection may meet an unlock on its behalf that is already on its way. It locks at once, but
//     begins only when a renewal sent [Config.Settle] later is granted; and an unlock is sent only on the strength of a list
//     younger than half of that.
//   - After the broker came back, its list fills up again member by member: nobody unlocks for others for [Config.Calm].
package ownership
