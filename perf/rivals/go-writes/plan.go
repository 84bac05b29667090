package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// members of a cluster, of every server.
const members = 3

// A server is a program that takes etcd's flags.
type server struct {
	name    string
	program string
	// Whether its clients speak gRPC, or HTTP as ours.
	grpc bool
}

// plan is everything that is fixed before the first member is started.
type plan struct {
	servers          []server
	clients          []int
	valueSize        int
	rounds           int
	duration, warmup time.Duration
	dir              string
	leaderOnly       bool
}

func parsePlan(args []string) (*plan, error) {
	p := &plan{}
	flags := flag.NewFlagSet("go-writes", flag.ContinueOnError)
	flags.Func("http", "name=program: a server with the HTTP of the raft server", p.server(false))
	flags.Func("etcd", "name=program: an etcd", p.server(true))
	clients := flags.String("clients", "16,128", "clients at a time, one connection each")
	flags.IntVar(&p.valueSize, "value-size", 256, "bytes of a value")
	flags.IntVar(&p.rounds, "rounds", 5, "how often everything is measured, in turns")
	flags.DurationVar(&p.duration, "duration", 8*time.Second, "how long is measured")
	flags.DurationVar(&p.warmup, "warmup", 2*time.Second, "how long the load runs before")
	flags.StringVar(&p.dir, "dir", "", "where members write; a disk, not memory")
	flags.BoolVar(&p.leaderOnly, "leader-only", false, "all clients ask the leader, not each member in turn")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	for _, text := range strings.Split(*clients, ",") {
		number, err := strconv.Atoi(text)
		if err != nil || number < 1 {
			return nil, fmt.Errorf("--clients %q is no list of numbers: write one such as 16,128", *clients)
		}
		p.clients = append(p.clients, number)
	}
	return p, p.check(flags)
}

func (p *plan) server(grpc bool) func(string) error {
	return func(text string) error {
		name, program, found := strings.Cut(text, "=")
		if !found {
			return errors.New("write name=program")
		}
		path, err := exec.LookPath(program)
		if err != nil {
			return err
		}
		p.servers = append(p.servers, server{name, path, grpc})
		return nil
	}
}

func (p *plan) check(flags *flag.FlagSet) error {
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%q is no flag: flags begin with --", flags.Arg(0))
	case len(p.servers) == 0:
		return errors.New("say what to measure: --http name=program, --etcd name=program")
	case p.valueSize < 0 || p.rounds < 1 || p.duration <= 0 || p.warmup < 0:
		return errors.New("--rounds must be at least 1, --duration longer than 0, the others not negative")
	}
	if p.dir == "" {
		p.dir = "."
	}
	return os.MkdirAll(p.dir, 0o755)
}
