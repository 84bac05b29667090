package main

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

const (
	warming int32 = iota
	measuring
	over
)

const (
	latencyMax = int64(time.Minute)
	drainMax   = 2 * time.Second
	settle     = 20 * time.Millisecond
)

// notWaitedFor is the frontier of a follower that the load does not wait for.
const notWaitedFor = math.MaxUint64

// meter knows what was sent when, what arrived when and what it cost. It is a port of src/meter.rs
// and src/credit.rs.
type meter struct {
	origin      time.Time
	messages    messages
	circles     *circles
	mode        string
	batch       uint64
	phase       atomic.Int32
	followers   []*followerMeter
	unreachable atomic.Uint64
	// One slot, so that a wake that comes before the wait ends it.
	wake chan struct{}

	lateness       *hdr.Histogram // of the load alone
	opened, closed edge
}

// edge is one end of the measured window: both clocks.
type edge struct{ now, cpu int64 }

type followerMeter struct {
	stamps     []atomic.Int64 // when batch b was handed over, at b modulo the length
	sent       atomic.Uint64
	hellos     atomic.Uint64
	processed  atomic.Uint64 // the number after the last message processed
	waitedFor  atomic.Uint64 // the frontier the load waits for
	mu         sync.Mutex
	total      uint64
	measured   uint64
	latencies  *hdr.Histogram
	_cacheLine [64]byte
}

func newMeter(p *plan) *meter {
	m := &meter{
		origin: time.Now(), messages: newMessages(p), mode: p.mode, batch: p.batch(),
		wake: make(chan struct{}, 1), lateness: newHistogram(),
	}
	stamps := 1 << bits.Len64(p.inFlightMax()/p.batch()+1)
	for range p.followers {
		f := &followerMeter{stamps: make([]atomic.Int64, stamps), latencies: newHistogram()}
		f.waitedFor.Store(notWaitedFor)
		m.followers = append(m.followers, f)
	}
	m.circles = newCircles(p, m)
	return m
}

func newHistogram() *hdr.Histogram { return hdr.New(1, latencyMax, 3) }

// now is nanoseconds since the run began; Since reads the monotonic clock alone.
func (m *meter) now() int64 { return int64(time.Since(m.origin)) }

func (m *meter) isMeasuring() bool { return m.phase.Load() == measuring }
func (m *meter) isOver() bool      { return m.phase.Load() == over }

func (f *followerMeter) stamp(batch uint64) *atomic.Int64 {
	return &f.stamps[batch&uint64(len(f.stamps)-1)]
}

// handedOver notes that messages up to next go out, of which the last batch is new.
func (m *meter) handedOver(follower int, next uint64, now int64) {
	f := m.followers[follower]
	f.stamp((next - 1) / m.batch).Store(now)
	f.sent.Store(next)
}

// arrived notes that the follower's Process took message number.
func (m *meter) arrived(follower int, number uint64) {
	f := m.followers[follower]
	isMeasuring := m.isMeasuring()
	f.mu.Lock()
	if isMeasuring {
		f.measured++
	}
	if m.mode == push {
		f.total++
		if isMeasuring {
			record(f.latencies, m.now()-f.stamp(number/m.batch).Load())
		}
	}
	f.mu.Unlock()
	f.processed.Store(number + 1)
	if waitedFor := f.waitedFor.Load(); number+1 >= waitedFor &&
		f.waitedFor.CompareAndSwap(waitedFor, notWaitedFor) {
		m.ring()
	}
}

// circled notes a full circle.
func (m *meter) circled(follower int, nanos int64) {
	f := m.followers[follower]
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total++
	if m.isMeasuring() {
		record(f.latencies, nanos)
	}
}

// ring wakes the load.
func (m *meter) ring() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func record(h *hdr.Histogram, nanos int64) {
	// Within the bounds by construction, so it cannot fail.
	_ = h.RecordValue(min(max(nanos, 1), latencyMax))
}

// watch opens the measured window after the warm-up, closes it in time, and waits for what is
// under way.
func (m *meter) watch(p *plan) {
	time.Sleep(p.warmup)
	m.opened = m.edge()
	m.phase.Store(measuring)
	time.Sleep(p.duration)
	m.phase.Store(over)
	m.closed = m.edge()
	m.ring()
	time.Sleep(settle)
	for deadline := time.Now().Add(drainMax); m.missing() > 0 && time.Now().Before(deadline); {
		time.Sleep(2 * time.Millisecond)
	}
}

func (m *meter) edge() edge {
	var cpu unix.Timespec
	// This clock exists on every Linux; a failure would show as a cost of 0.
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &cpu)
	return edge{now: m.now(), cpu: cpu.Nano()}
}

// missing counts what was sent and has not made its way.
func (m *meter) missing() (missing uint64) {
	for _, f := range m.followers {
		f.mu.Lock()
		missing += f.sent.Load() - min(f.total, f.sent.Load())
		f.mu.Unlock()
	}
	return missing
}

// dropped is what never arrived, or the reports of such, whichever is more.
func (m *meter) dropped() uint64 { return max(m.missing(), m.unreachable.Load()) }
