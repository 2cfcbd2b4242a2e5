package raftmq.record;

import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A TCP relay that writes one file for each kind of RocketMQ frame that it passes on, unchanged, with its length word.
 *
 * <p>Usage: FrameTap OUT_DIRECTORY LISTEN=TARGET... with addresses as ip:port. Two frames are of one kind when code,
 * direction, response code, flag, the set of ext field names and the presence of a body are the same; the first of each kind is
 * kept, at most eight for one code and direction. INDEX lists them. A response is filed under the code of its request.
 */
public final class FrameTap {
    private static final int KEPT_MAX = 8;

    private final Path out;
    private final Set<String> kinds = new HashSet<>();
    private final Map<String, Integer> kept = new HashMap<>();

    private FrameTap(Path out) {
        this.out = out;
    }

    public static void main(String[] args) throws IOException {
        FrameTap tap = new FrameTap(Paths.get(args[0]));
        Files.createDirectories(tap.out);
        for (int i = 1; i < args.length; i++) {
            String[] ends = args[i].split("=");
            ServerSocket server = new ServerSocket();
            server.setReuseAddress(true);
            server.bind(address(ends[0]));
            new Thread(() -> tap.accept(server, address(ends[1]))).start();
        }
        System.out.println("relaying");
    }

    private static InetSocketAddress address(String text) {
        int colon = text.lastIndexOf(':');
        return new InetSocketAddress(text.substring(0, colon), Integer.parseInt(text.substring(colon + 1)));
    }

    private void accept(ServerSocket server, InetSocketAddress target) {
        while (true) {
            try {
                Socket near = server.accept();
                Socket far = new Socket();
                /* The broker prints the address of its peer into born host: keep it 127.0.0.1. */
                far.bind(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0));
                try {
                    far.connect(target, 2000);
                } catch (IOException e) {
                    near.close();
                    far.close();
                    continue;
                }
                Map<Integer, Integer> asked = new ConcurrentHashMap<>();
                Map<Integer, Integer> askedBack = new ConcurrentHashMap<>();
                new Thread(() -> relay(near, far, asked, askedBack)).start();
                new Thread(() -> relay(far, near, askedBack, asked)).start();
            } catch (IOException e) {
                e.printStackTrace();
            }
        }
    }

    /* One direction: @asked takes the opaque and code of requests that pass, @answered holds those of the other way. */
    private void relay(Socket from, Socket to, Map<Integer, Integer> asked, Map<Integer, Integer> answered) {
        try (Socket source = from; Socket sink = to) {
            DataInputStream in = new DataInputStream(source.getInputStream());
            OutputStream pass = sink.getOutputStream();
            while (true) {
                int length = in.readInt();
                byte[] frame = new byte[4 + length];
                ByteBuffer.wrap(frame).putInt(length);
                in.readFully(frame, 4, length);
                Header header = Header.parse(frame);
                if (!header.isResponse()) {
                    asked.put(header.opaque, header.code);
                }
                keep(header, header.isResponse() ? answered.remove(header.opaque) : Integer.valueOf(header.code), frame);
                pass.write(frame);
                pass.flush();
            }
        } catch (EOFException e) {
            /* The peer closed the connection: closing the other side passes that on. */
        } catch (IOException e) {
            System.out.println("connection ended: " + e.getMessage());
        }
    }

    private synchronized void keep(Header header, Integer code, byte[] frame) throws IOException {
        if (code == null) {
            return;
        }
        String stem = code + (header.isResponse() ? "-response" : "-request");
        String kind = stem + " code=" + header.code + " flag=" + header.flag + " encoding=" + header.encoding
                + " body=" + (header.bodyLength > 0 ? "yes" : "no") + " ext=" + String.join(",", header.extNames);
        int count = kept.getOrDefault(stem, 0);
        if (count >= KEPT_MAX || !kinds.add(kind)) {
            return;
        }
        kept.put(stem, count + 1);
        String name = stem + (count == 0 ? "" : "-" + (count + 1)) + ".bin";
        Files.write(out.resolve(name), frame);
        String line = name + kind.substring(stem.length()) + " bytes=" + frame.length + "\n";
        Files.write(out.resolve("INDEX"), line.getBytes(StandardCharsets.UTF_8),
                java.nio.file.StandardOpenOption.CREATE, java.nio.file.StandardOpenOption.APPEND);
    }

    /** What the relay has to know of a command header, in either encoding. */
    private static final class Header {
        private static final Pattern CODE = Pattern.compile("\"code\":(-?\\d+)");
        private static final Pattern FLAG = Pattern.compile("\"flag\":(\\d+)");
        private static final Pattern OPAQUE = Pattern.compile("\"opaque\":(-?\\d+)");
        private static final Pattern EXT = Pattern.compile("\"extFields\":\\{((?:\"(?:[^\"\\\\]|\\\\.)*\"[:,]?)*)\\}");
        private static final Pattern PAIR = Pattern.compile("\"((?:[^\"\\\\]|\\\\.)*)\":\"(?:[^\"\\\\]|\\\\.)*\"");

        private int code;
        private int flag;
        private int opaque;
        private int bodyLength;
        private String encoding;
        private final Set<String> extNames = new TreeSet<>();

        private boolean isResponse() {
            return (flag & 1) != 0;
        }

        private static Header parse(byte[] frame) {
            ByteBuffer in = ByteBuffer.wrap(frame, 4, frame.length - 4);
            int word = in.getInt();
            byte[] bytes = new byte[word & 0xFFFFFF];
            in.get(bytes);
            Header header = new Header();
            header.bodyLength = in.remaining();
            if (word >>> 24 == 0) {
                header.parseJson(new String(bytes, StandardCharsets.UTF_8));
            } else {
                header.parseBinary(ByteBuffer.wrap(bytes));
            }
            return header;
        }

        private void parseJson(String text) {
            encoding = "JSON";
            Matcher ext = EXT.matcher(text);
            String rest = text;
            if (ext.find()) {
                Matcher pair = PAIR.matcher(ext.group(1));
                while (pair.find()) {
                    extNames.add(pair.group(1));
                }
                rest = text.substring(0, ext.start()) + text.substring(ext.end());
            }
            code = number(CODE, rest);
            flag = number(FLAG, rest);
            opaque = number(OPAQUE, rest);
        }

        private static int number(Pattern pattern, String text) {
            Matcher matcher = pattern.matcher(text);
            return matcher.find() ? Integer.parseInt(matcher.group(1)) : 0;
        }

        private void parseBinary(ByteBuffer in) {
            encoding = "ROCKETMQ";
            code = in.getShort();
            in.get();
            in.getShort();
            opaque = in.getInt();
            flag = in.getInt();
            skip(in, in.getInt());
            int end = in.getInt();
            end += in.position();
            while (in.position() < end) {
                byte[] name = new byte[in.getShort()];
                in.get(name);
                extNames.add(new String(name, StandardCharsets.UTF_8));
                skip(in, in.getInt());
            }
        }

        private static void skip(ByteBuffer in, int bytes) {
            in.position(in.position() + bytes);
        }
    }
}
