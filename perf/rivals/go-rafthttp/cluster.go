package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp"
	stats "go.etcd.io/etcd/server/v3/etcdserver/api/v2stats"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

const (
	clusterID      = types.ID(0x1000)
	connectTimeout = 15 * time.Second
)

// member is one transport with its server, and the raft that it calls.
type member struct {
	transport *rafthttp.Transport
	server    *http.Server
	url       string
	meter     *meter
	follower  int // -1 for the leader
	posts     *atomic.Int64
}

type cluster struct {
	leader    *member
	followers []*member
	posts     atomic.Int64 // messages that went by POST /raft instead of by a stream
	streams   atomic.Int64 // streams that were asked for
}

// startCluster brings all members up and returns when every stream works.
func startCluster(p *plan, m *meter) (*cluster, error) {
	c := &cluster{}
	var err error
	if c.leader, err = c.startMember(m, -1); err != nil {
		return nil, err
	}
	for follower := range p.followers {
		started, err := c.startMember(m, follower)
		if err != nil {
			return nil, err
		}
		c.followers = append(c.followers, started)
	}
	for _, f := range c.followers {
		c.leader.transport.AddPeer(f.transport.ID, []string{f.url})
		f.transport.AddPeer(c.leader.transport.ID, []string{c.leader.url})
	}
	return c, c.waitForStreams(m)
}

func (c *cluster) startMember(m *meter, follower int) (*member, error) {
	id := types.ID(memberID(follower + 1))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	own := &member{meter: m, follower: follower, url: "http://" + listener.Addr().String(), posts: &c.posts}
	urls, err := types.NewURLs([]string{own.url})
	if err != nil {
		return nil, err
	}
	// As etcd wires it, statistics included; the logger says nothing.
	own.transport = &rafthttp.Transport{
		Logger: zap.NewNop(), DialTimeout: 2 * time.Second, ID: id, URLs: urls, ClusterID: clusterID,
		Raft: own, ServerStats: stats.NewServerStats(id.String(), id.String()),
		LeaderStats: stats.NewLeaderStats(zap.NewNop(), id.String()), ErrorC: make(chan error, 1),
	}
	if err := own.transport.Start(); err != nil {
		return nil, err
	}
	own.server = &http.Server{Handler: c.count(own.transport.Handler())}
	go own.server.Serve(listener) // ends with Close in stop
	return own, nil
}

// count tells streams from posts on the way to the handler: once a request, never per message.
func (c *cluster) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == rafthttp.RaftPrefix {
			c.posts.Add(1)
		} else if strings.HasPrefix(r.URL.Path, rafthttp.RaftStreamPrefix+"/") {
			c.streams.Add(1)
		}
		next.ServeHTTP(w, r)
	})
}

// waitForStreams sends hellos until a round of them arrives everywhere without a single post, after
// all four streams of each pair were asked for.
func (c *cluster) waitForStreams(m *meter) error {
	deadline := time.Now().Add(connectTimeout)
	for time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
		if c.streams.Load() < int64(4*len(c.followers)) || !c.isActive() {
			continue
		}
		posts := c.posts.Load()
		wanted := make([]uint64, len(c.followers))
		for follower := range c.followers {
			wanted[follower] = m.followers[follower].hellos.Load() + 1
			c.leader.transport.Send([]raftpb.Message{head(follower, 0)})
		}
		time.Sleep(100 * time.Millisecond)
		haveAll := true
		for follower := range c.followers {
			haveAll = haveAll && m.followers[follower].hellos.Load() >= wanted[follower]
		}
		if haveAll && c.posts.Load() == posts {
			m.unreachable.Store(0)
			return nil
		}
	}
	return errors.New("the streams did not come up in time: is loopback allowed here?")
}

func (c *cluster) isActive() bool {
	for _, f := range c.followers {
		if c.leader.transport.ActiveSince(f.transport.ID).IsZero() ||
			f.transport.ActiveSince(c.leader.transport.ID).IsZero() {
			return false
		}
	}
	return true
}

func (c *cluster) stop() {
	for _, m := range append(c.followers, c.leader) {
		m.transport.Stop()
		m.server.Close()
	}
}

// Process counts what a follower got and, under rtt, answers it; at the leader it sends the next.
func (m *member) Process(_ context.Context, message raftpb.Message) error {
	if m.follower < 0 {
		if next := m.meter.circles.process(&message); next != nil {
			m.transport.Send(next)
		}
		return nil
	}
	number, isNumbered := m.meter.messages.number(&message)
	if !isNumbered {
		if message.Type == raftpb.MsgApp {
			m.meter.followers[m.follower].hellos.Add(1)
		}
		return nil
	}
	m.meter.arrived(m.follower, number)
	if m.meter.mode == rtt {
		m.transport.Send([]raftpb.Message{answer(&message)})
	}
	return nil
}

func (m *member) IsIDRemoved(uint64) bool { return false }

func (m *member) ReportUnreachable(uint64) { m.meter.unreachable.Add(1) }

func (m *member) ReportSnapshot(uint64, raft.SnapshotStatus) {}
