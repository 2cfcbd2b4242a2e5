package raftmq.compat;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** The cases of all lines. A line is one thing that clients can do with brokers: topics, filters, transactions. */
final class Cases {
    interface Body {
        void run(Run run) throws Exception;
    }

    static final class Case {
        final String line;
        final String name;
        final Body body; /* null: this client does not offer it */
        final Set<String> needs = new HashSet<>();
        boolean selected;
        boolean killed = true;

        Case(String line, String name, Body body) {
            this.line = line;
            this.name = name;
            this.body = body;
        }

        String fullName() {
            return line + ": " + name;
        }

        /** Runs only where the brokers under test have @feature (tests/compat/features). */
        Case needs(String feature) {
            needs.add(feature);
            return this;
        }

        /** Belongs to the selection that runs by default. */
        Case selected() {
            selected = true;
            return this;
        }

        /** Says nothing about brokers' deaths: runs on a healthy group only. */
        Case healthyOnly() {
            killed = false;
            return this;
        }
    }

    final List<Case> all = new ArrayList<>();
    private String line = "";

    void line(String name) {
        line = name;
    }

    Case add(String name, Body body) {
        Case one = new Case(line, name, body);
        all.add(one);
        return one;
    }

    Case notOffered(String name) {
        return add(name, null);
    }
}
