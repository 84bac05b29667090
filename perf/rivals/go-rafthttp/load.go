package main

import (
	"runtime"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp"
	"go.etcd.io/raft/v3/raftpb"
	"golang.org/x/sys/unix"
)

// load is the load of push, with the batch rule of src/load.rs: whole batches, one Send for all
// followers that have room; or bursts on a schedule.
type load struct {
	plan        *plan
	meter       *meter
	transport   *rafthttp.Transport
	batch       uint64
	inFlightMax uint64
	next        []uint64
	list        []raftpb.Message
}

func newLoad(p *plan, m *meter, t *rafthttp.Transport) *load {
	return &load{
		plan: p, meter: m, transport: t, batch: p.batch(), inFlightMax: p.inFlightMax(),
		next: make([]uint64, p.followers),
	}
}

func (l *load) run() {
	if l.plan.rate > 0 {
		l.runScheduled()
		return
	}
	for !l.meter.isOver() {
		now := l.meter.now()
		for follower := range l.next {
			if l.room(follower) >= l.batch {
				l.append(follower, now)
			}
		}
		if len(l.list) > 0 {
			l.send()
		} else if l.mayWait() {
			<-l.meter.wake
		}
	}
}

// runScheduled keeps the schedule by sleeps of the kernel: Go's own end about a millisecond late
// and would turn a fine schedule into bursts. The thread is its own so that the sleep blocks nobody.
func (l *load) runScheduled() {
	runtime.LockOSThread()
	start := l.meter.now()
	for bursts := uint64(0); !l.meter.isOver(); {
		now := l.meter.now()
		for first := bursts; l.due(start, bursts) <= now && bursts-first < 16; bursts++ {
			if l.meter.isMeasuring() {
				record(l.meter.lateness, now-l.due(start, bursts))
			}
			for follower := range l.next {
				if l.room(follower) >= l.batch {
					l.append(follower, now)
				} else {
					l.next[follower] += l.batch // shed: shows as dropped
				}
			}
		}
		if len(l.list) > 0 {
			l.send()
		} else {
			sleep := unix.NsecToTimespec(max(0, l.due(start, bursts)-l.meter.now()))
			// Ended early by a signal, it only looks at the clock once more.
			_ = unix.Nanosleep(&sleep, nil)
		}
	}
}

// due is when a burst is due. The seconds are taken apart so that nothing overflows.
func (l *load) due(start int64, burst uint64) int64 {
	messages := burst * l.plan.burst
	seconds, rest := messages/l.plan.rate, messages%l.plan.rate
	return start + int64(seconds)*int64(time.Second) + int64(rest*uint64(time.Second)/l.plan.rate)
}

// mayWait declares for each follower the frontier that would let a batch go; false if one is there.
func (l *load) mayWait() bool {
	for follower, next := range l.next {
		f, wanted := l.meter.followers[follower], next+l.batch-l.inFlightMax
		f.waitedFor.Store(wanted)
		if f.processed.Load() >= wanted {
			return false
		}
	}
	return true
}

func (l *load) room(follower int) uint64 {
	inFlight := l.next[follower] - min(l.next[follower], l.meter.followers[follower].processed.Load())
	return l.inFlightMax - min(l.inFlightMax, inFlight)
}

func (l *load) append(follower int, now int64) {
	first := l.next[follower]
	l.next[follower] += l.batch
	l.list = l.meter.messages.appendBatch(l.list, follower, first, first+l.batch)
	l.meter.handedOver(follower, first+l.batch, now)
}

// send hands the list over. Send copies the messages into its queues, so the list is reused.
func (l *load) send() {
	l.transport.Send(l.list)
	l.list = l.list[:0]
}

// circles is the leader's half of rtt: one message circles between it and each follower.
type circles struct {
	meter     *meter
	followers map[uint64]int
	under     []circle
}

type circle struct {
	mu     sync.Mutex
	next   uint64
	sentAt int64
}

func newCircles(p *plan, m *meter) *circles {
	c := &circles{meter: m, followers: map[uint64]int{}, under: make([]circle, p.followers)}
	for follower := range p.followers {
		c.followers[memberID(follower+1)] = follower
	}
	return c
}

// start makes the first message to each follower.
func (c *circles) start() (list []raftpb.Message) {
	for follower := range c.under {
		list = c.send(list, follower)
	}
	return list
}

// process takes a MsgAppResp and returns the next message, unless the run is over.
func (c *circles) process(m *raftpb.Message) []raftpb.Message {
	now := c.meter.now()
	follower, known := c.followers[m.From]
	if !known || m.Type != raftpb.MsgAppResp {
		return nil
	}
	c.under[follower].mu.Lock()
	sentAt := c.under[follower].sentAt
	c.under[follower].mu.Unlock()
	c.meter.circled(follower, now-sentAt)
	if c.meter.isOver() {
		return nil
	}
	return c.send(nil, follower)
}

func (c *circles) send(list []raftpb.Message, follower int) []raftpb.Message {
	own := &c.under[follower]
	own.mu.Lock()
	defer own.mu.Unlock()
	list = c.meter.messages.appendBatch(list, follower, own.next, own.next+1)
	own.next++
	own.sentAt = c.meter.now()
	c.meter.handedOver(follower, own.next, own.sentAt)
	return list
}
