package main

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	push = "push"
	rtt  = "rtt"

	// The batch rule of raftring-perf: see BATCH_MAX and RATED_BURSTS_MAX in src/plan.rs.
	batchMax       = 64
	ratedBurstsMax = 1 << 16
)

// plan is everything that is fixed before the first message is sent.
type plan struct {
	mode, host        string
	followers         int
	entrySize         int
	entriesPerMessage int
	window            int
	rate, burst       uint64 // rate 0: as fast as the window allows
	duration, warmup  time.Duration
	cores             []int
	spin              string
	json, hgrm        string
}

func parsePlan(args []string) (*plan, error) {
	if len(args) == 0 || (args[0] != push && args[0] != rtt) {
		return nil, errors.New("say what to measure: push or rtt, then its flags")
	}
	p := &plan{mode: args[0]}
	flags := flag.NewFlagSet(p.mode, flag.ContinueOnError)
	flags.IntVar(&p.followers, "followers", 1, "followers of the one leader")
	flags.IntVar(&p.entrySize, "entry-size", 64, "bytes of data in one entry")
	flags.IntVar(&p.entriesPerMessage, "entries-per-message", 1, "entries in one MsgApp")
	flags.DurationVar(&p.duration, "duration", 4*time.Second, "how long is measured")
	flags.DurationVar(&p.warmup, "warmup", time.Second, "how long the load runs before")
	flags.StringVar(&p.json, "json", "", "write the report here as JSON")
	flags.StringVar(&p.hgrm, "hgrm", "", "write the histogram into this folder")
	cores := flags.String("cores", "0,1", "the cores to run on")
	flags.StringVar(&p.host, "host", "core", "printed, otherwise ignored: Go has no cores of its own")
	flags.StringVar(&p.spin, "spin", "adaptive", "ignored: Go's scheduler spins as it likes")
	p.window = 1
	if p.mode == push {
		flags.IntVar(&p.window, "window", 1024, "messages in flight to one follower, not yet processed")
		flags.Uint64Var(&p.rate, "rate", 0, "messages per second offered to each follower")
		flags.Uint64Var(&p.burst, "burst", 1, "messages in one burst of the rate")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return nil, err
	}
	for _, core := range strings.Split(*cores, ",") {
		number, err := strconv.Atoi(core)
		if err != nil {
			return nil, fmt.Errorf("--cores %q is no list of cores: write one such as 0,1", *cores)
		}
		p.cores = append(p.cores, number)
	}
	return p, p.check(flags)
}

func (p *plan) check(flags *flag.FlagSet) error {
	isSet := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { isSet[f.Name] = true })
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%q is no flag: flags begin with --", flags.Arg(0))
	case p.followers < 1:
		return errors.New("--followers must be at least 1: there is nobody to send to")
	case p.entrySize < 0 || p.entriesPerMessage < 1 || p.window < 1:
		return errors.New("--entry-size must not be negative, --entries-per-message and --window at least 1")
	case p.duration <= 0 || p.warmup < 0:
		return errors.New("--duration must be longer than 0, --warmup not negative")
	case isSet["rate"] && (p.rate < 1 || p.burst < 1):
		return errors.New("--rate and --burst must be at least 1")
	case isSet["burst"] && !isSet["rate"]:
		return errors.New("--burst belongs to --rate: give both")
	case isSet["rate"] && isSet["window"]:
		return errors.New("--rate and --window exclude each other: give one")
	}
	return nil
}

// batch is the number of messages for one follower that travel in one Send and share one stamp.
func (p *plan) batch() uint64 {
	switch {
	case p.mode == rtt:
		return 1
	case p.rate > 0:
		return p.burst
	default:
		return uint64(max(1, min(batchMax, p.window/2)))
	}
}

func (p *plan) inFlightMax() uint64 {
	switch {
	case p.mode == rtt:
		return 1
	case p.rate > 0:
		return p.burst * ratedBurstsMax
	default:
		return uint64(p.window)
	}
}

// label names the files, as Plan::label does.
func (p *plan) label() string {
	label := fmt.Sprintf("%s-%s-f%d-e%dx%d-spin-%s", p.mode, p.host, p.followers, p.entrySize,
		p.entriesPerMessage, p.spin)
	if p.rate > 0 {
		label += fmt.Sprintf("-r%db%d", p.rate, p.burst)
	}
	return label
}
