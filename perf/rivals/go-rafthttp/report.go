package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// result is the line for machines, with the names and the order of src/result_line.rs.
type result struct {
	Implementation    string   `json:"impl"`
	Mode              string   `json:"mode"`
	Host              string   `json:"host"`
	Followers         int      `json:"followers"`
	EntrySize         int      `json:"entry_size"`
	EntriesPerMessage int      `json:"entries_per_message"`
	MsgsPerS          float64  `json:"msgs_per_s"`
	EntriesPerS       float64  `json:"entries_per_s"`
	BytesPerS         float64  `json:"bytes_per_s"`
	CPUNsPerMsg       float64  `json:"cpu_ns_per_msg"`
	P50               *float64 `json:"p50_us"`
	P90               *float64 `json:"p90_us"`
	P99               *float64 `json:"p99_us"`
	P999              *float64 `json:"p999_us"`
	Max               *float64 `json:"max_us"`
	Dropped           uint64   `json:"dropped"`
}

func (r *result) String() string {
	us := func(value *float64) string {
		if value == nil {
			return "-"
		}
		return strconv.FormatFloat(*value, 'f', 1, 64)
	}
	return fmt.Sprintf("RESULT impl=%s mode=%s host=%s followers=%d entry_size=%d entries_per_message=%d "+
		"msgs_per_s=%.0f entries_per_s=%.0f bytes_per_s=%.0f cpu_ns_per_msg=%.1f "+
		"p50_us=%s p90_us=%s p99_us=%s p999_us=%s max_us=%s dropped=%d",
		r.Implementation, r.Mode, r.Host, r.Followers, r.EntrySize, r.EntriesPerMessage,
		r.MsgsPerS, r.EntriesPerS, r.BytesPerS, r.CPUNsPerMsg,
		us(r.P50), us(r.P90), us(r.P99), us(r.P999), us(r.Max), r.Dropped)
}

// report prints the figures, writes the files and fails if messages were lost without a rate to blame.
func report(p *plan, m *meter) error {
	latencies, count := newHistogram(), uint64(0)
	for _, f := range m.followers {
		f.mu.Lock()
		latencies.Merge(f.latencies)
		count += f.measured
		f.mu.Unlock()
	}
	elapsed := float64(m.closed.now-m.opened.now) / 1e9
	r := &result{
		Implementation: implementation, Mode: p.mode, Host: p.host, Followers: p.followers,
		EntrySize: p.entrySize, EntriesPerMessage: p.entriesPerMessage,
		MsgsPerS:    float64(count) / elapsed,
		EntriesPerS: float64(count) * float64(p.entriesPerMessage) / elapsed,
		BytesPerS:   float64(count) * float64(p.entriesPerMessage) * float64(p.entrySize) / elapsed,
		CPUNsPerMsg: float64(m.closed.cpu-m.opened.cpu) / float64(max(count, 1)),
		P50:         at(latencies, 50), P90: at(latencies, 90), P99: at(latencies, 99),
		P999: at(latencies, 99.9), Max: at(latencies, 100), Dropped: m.dropped(),
	}
	percentiles := printPercentiles("latency", latencies)
	if m.lateness.TotalCount() > 0 {
		printPercentiles("sent late", m.lateness)
	}
	if err := writeFiles(p, r, percentiles, elapsed, latencies); err != nil {
		return err
	}
	fmt.Println(r)
	if r.Dropped > 0 && p.rate == 0 {
		return fmt.Errorf("%d messages were dropped although the load waits for credit", r.Dropped)
	}
	return nil
}

// at is a percentile in microseconds, or nothing of nothing.
func at(h *hdr.Histogram, percentile float64) *float64 {
	if h.TotalCount() == 0 {
		return nil
	}
	us := float64(h.ValueAtQuantile(percentile)) / 1e3
	return &us
}

// printPercentiles prints the percentiles of the report, and returns them as pairs for its JSON.
func printPercentiles(what string, h *hdr.Histogram) [][2]any {
	pairs := [][2]any{}
	for _, percentile := range []float64{50, 75, 90, 95, 99, 99.9, 99.99, 100} {
		name := "p" + strconv.FormatFloat(percentile, 'f', -1, 64)
		if percentile == 100 {
			name = "max"
		}
		if us := at(h, percentile); us != nil {
			fmt.Printf("  %s %6s %12.1f us\n", what, name, *us)
			pairs = append(pairs, [2]any{name, *us})
		}
	}
	return pairs
}

func writeFiles(p *plan, r *result, percentiles [][2]any, elapsed float64, latencies *hdr.Histogram) error {
	if p.json != "" {
		reports := []map[string]any{{"result": r, "percentiles_us": percentiles, "elapsed_s": elapsed}}
		text, err := json.MarshalIndent(reports, "", "  ")
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(p.json), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(p.json, text, 0o644); err != nil {
			return err
		}
	}
	if p.hgrm == "" {
		return nil
	}
	if err := os.MkdirAll(p.hgrm, 0o755); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(p.hgrm, implementation+"-"+p.label()+".hgrm"))
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = latencies.PercentilesPrint(file, 5, 1000)
	return err
}
