package main

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// What the load is in: only writes that were asked for and answered in the middle one count.
const (
	warming int32 = iota
	measuring
	over
)

// keys that are written, over and over, so that a cluster does not grow with its speed.
const keys = 10_000

// load is a closed loop: each client writes, waits for the answer, and writes again.
type load struct {
	plan   *plan
	server server
	fleet  *fleet
	doors  []door
	phase  atomic.Int32
	failed atomic.Int64
	// The first failure, to be read when all clients are gone.
	failure     error
	failureOnce sync.Once
}

func newLoad(p *plan, s server, f *fleet, doors []door) *load {
	return &load{plan: p, server: s, fleet: f, doors: doors}
}

func (l *load) run() (*result, error) {
	histograms := make([]*hdr.Histogram, len(l.doors))
	var clients sync.WaitGroup
	for at, door := range l.doors {
		histograms[at] = hdr.New(1, int64(time.Minute/time.Microsecond), 3)
		clients.Go(func() { l.client(at, door, histograms[at]) })
	}
	used, elapsed, err := l.watch()
	clients.Wait()
	if err != nil {
		return nil, err
	}
	all := histograms[0]
	for _, histogram := range histograms[1:] {
		all.Merge(histogram)
	}
	if l.failure != nil {
		fmt.Printf("%s: the first failure: %v; the logs:\n%s", l.server.name, l.failure, l.fleet.logs())
	}
	return newResult(l.server.name, len(l.doors), all, elapsed, used, l.failed.Load()), nil
}

// watch opens and closes the window; what members and clients used within it.
func (l *load) watch() (usage, time.Duration, error) {
	defer l.phase.Store(over)
	time.Sleep(l.plan.warmup)
	before, err := l.usage()
	if err != nil {
		return usage{}, 0, err
	}
	began := time.Now()
	l.phase.Store(measuring)
	time.Sleep(l.plan.duration)
	l.phase.Store(over)
	elapsed := time.Since(began)
	after, err := l.usage()
	return usage{after.servers - before.servers, after.clients - before.clients}, elapsed, err
}

func (l *load) usage() (usage, error) {
	servers, err := l.fleet.processorTime()
	return usage{servers, ownProcessorTime()}, err
}

func (l *load) client(number int, door door, histogram *hdr.Histogram) {
	value := strings.Repeat("v", l.plan.valueSize)
	for at := number; ; at += len(l.doors) {
		began, phase := time.Now(), l.phase.Load()
		if phase == over {
			return
		}
		err := door.put(fmt.Sprintf("key-%d", at%keys), value)
		switch {
		case err != nil:
			l.failed.Add(1)
			l.failureOnce.Do(func() { l.failure = err })
			time.Sleep(10 * time.Millisecond)
		case phase == measuring && l.phase.Load() == measuring:
			_ = histogram.RecordValue(time.Since(began).Microseconds())
		}
	}
}
