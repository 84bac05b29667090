package main

import (
	"fmt"
	"slices"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// result is one run.
type result struct {
	server  string
	clients int
	// Writes per second; milliseconds; microseconds of processor time a write.
	writes, p50, p99, serverCPU, clientCPU float64
	failed                                 int64
}

func newResult(server string, clients int, h *hdr.Histogram, elapsed time.Duration, used usage, failed int64) *result {
	count := float64(max(h.TotalCount(), 1))
	return &result{
		server:    server,
		clients:   clients,
		writes:    float64(h.TotalCount()) / elapsed.Seconds(),
		p50:       float64(h.ValueAtPercentile(50)) / 1000,
		p99:       float64(h.ValueAtPercentile(99)) / 1000,
		serverCPU: float64(used.servers.Microseconds()) / count,
		clientCPU: float64(used.clients.Microseconds()) / count,
		failed:    failed,
	}
}

func (r *result) String() string {
	return fmt.Sprintf("RESULT server=%s clients=%d writes_per_s=%.0f p50_ms=%.2f p99_ms=%.2f "+
		"server_cpu_us_per_write=%.0f client_cpu_us_per_write=%.0f failed=%d",
		r.server, r.clients, r.writes, r.p50, r.p99, r.serverCPU, r.clientCPU, r.failed)
}

// printTable shows medians with the least and the greatest of all rounds.
func printTable(p *plan, results []*result) {
	fmt.Printf("\nthree members, values of %d bytes, %d rounds of %v in turns: median [min..max]\n",
		p.valueSize, p.rounds, p.duration)
	fmt.Printf("%-8s %-14s %-26s %-24s %-24s %-20s %s\n",
		"clients", "server", "writes/s", "p50 ms", "p99 ms", "server us/write", "client us/write")
	for _, clients := range p.clients {
		for _, server := range p.servers {
			var own []*result
			for _, r := range results {
				if r.clients == clients && r.server == server.name {
					own = append(own, r)
				}
			}
			column := func(digits int, of func(*result) float64) string { return spread(own, digits, of) }
			fmt.Printf("%-8d %-14s %-26s %-24s %-24s %-20s %s\n", clients, server.name,
				column(0, func(r *result) float64 { return r.writes }),
				column(2, func(r *result) float64 { return r.p50 }),
				column(2, func(r *result) float64 { return r.p99 }),
				column(0, func(r *result) float64 { return r.serverCPU }),
				column(0, func(r *result) float64 { return r.clientCPU }))
		}
	}
}

func spread(results []*result, digits int, of func(*result) float64) string {
	var values []float64
	for _, r := range results {
		values = append(values, of(r))
	}
	slices.Sort(values)
	last := len(values) - 1
	return fmt.Sprintf("%.*f [%.*f..%.*f]", digits, values[last/2], digits, values[0], digits, values[last])
}
