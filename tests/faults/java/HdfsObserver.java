import java.io.IOException;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.ArrayList;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Applications of HDFS that know nothing of bdops, by Hadoop's own client: writers, readers, one that appends records
 * to a file that it never closes, one that makes and renames folders. Prints `ready`, works until its standard input
 * ends, reads back all that was acknowledged, and prints what it saw as one JSON object.
 */
public final class HdfsObserver {
    private static final Path ROOT = new Path("/observer");
    private static final int WRITERS = 3;
    private static final int READERS = 2;
    private static final int CHUNK = 16 * 1024;
    private static final int RECORD = 1024;

    private final FileSystem fs;
    /** What was acknowledged: path, and the digest of its content. */
    private final Map<String, byte[]> acknowledged = new ConcurrentHashMap<>();
    private final List<String> violations = Collections.synchronizedList(new ArrayList<>());
    private final Map<String, AtomicLong> counts = new ConcurrentHashMap<>();
    private final Map<String, AtomicLong> worstMs = new ConcurrentHashMap<>();
    private volatile boolean over;
    private volatile long records;

    private HdfsObserver(FileSystem fs) {
        this.fs = fs;
    }

    private interface Work {
        void once(int turn) throws Exception;
    }

    /** Do it again and again, counting, and measuring the slowest; a failure is a violation. */
    private Thread repeat(String what, int pauseMs, Work work) {
        Thread thread = new Thread(() -> {
            for (int turn = 0; !over; turn++) {
                long began = System.nanoTime();
                try {
                    work.once(turn);
                    counts.computeIfAbsent(what, k -> new AtomicLong()).incrementAndGet();
                } catch (Exception e) {
                    violations.add(what + " failed: " + e);
                }
                long ms = (System.nanoTime() - began) / 1_000_000;
                worstMs.computeIfAbsent(what, k -> new AtomicLong()).accumulateAndGet(ms, Math::max);
                pause(pauseMs);
            }
        }, what);
        thread.start();
        return thread;
    }

    private void write(int writer, int turn, Random random) throws Exception {
        Path path = new Path(ROOT, "writer-" + writer + "/" + turn);
        MessageDigest digest = MessageDigest.getInstance("MD5");
        byte[] chunk = new byte[CHUNK];
        try (FSDataOutputStream out = fs.create(path, false)) {
            for (int left = 2 + random.nextInt(12); left > 0; left--) {
                random.nextBytes(chunk);
                out.write(chunk);
                digest.update(chunk);
                pause(20);
            }
        }
        acknowledged.put(path.toString(), digest.digest());
    }

    private void read(String path) throws Exception {
        MessageDigest digest = MessageDigest.getInstance("MD5");
        byte[] buffer = new byte[64 * 1024];
        try (FSDataInputStream in = fs.open(new Path(path))) {
            for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
                digest.update(buffer, 0, n);
            }
        }
        if (!Arrays.equals(digest.digest(), acknowledged.get(path))) {
            violations.add(path + ": its content is not what was acknowledged");
        }
    }

    private static byte[] record(long number) {
        byte[] record = new byte[RECORD];
        new Random(number).nextBytes(record);
        ByteBuffer.wrap(record).putLong(number);
        return record;
    }

    private void checkRecords(Path log) throws IOException {
        byte[] record = new byte[RECORD];
        long length = fs.getFileStatus(log).getLen();
        if (length != records * RECORD) {
            violations.add(log + ": " + records + " records were acknowledged, it has " + length + " bytes");
        }
        try (FSDataInputStream in = fs.open(log)) {
            for (long number = 0; number < records; number++) {
                in.readFully(record);
                if (!Arrays.equals(record, record(number))) {
                    violations.add(log + ": record " + number + " is " + ByteBuffer.wrap(record).getLong());
                    return;
                }
            }
        }
    }

    private void run() throws Exception {
        fs.delete(ROOT, true);
        fs.mkdirs(ROOT);
        Random random = new Random(1);
        for (int writer = 0; writer < WRITERS; writer++) {
            write(writer, -1, random);
        }
        Path log = new Path(ROOT, "log");
        FSDataOutputStream records = fs.create(log, false);
        List<Thread> threads = new ArrayList<>();
        for (int n = 0; n < WRITERS; n++) {
            int writer = n;
            Random mine = new Random(writer);
            threads.add(repeat("write", 200, turn -> write(writer, turn, mine)));
        }
        for (int n = 0; n < READERS; n++) {
            Random mine = new Random(100 + n);
            threads.add(repeat("read", 50, turn -> {
                List<String> paths = new ArrayList<>(acknowledged.keySet());
                read(paths.get(mine.nextInt(paths.size())));
            }));
        }
        threads.add(repeat("append", 100, turn -> {
            records.write(record(this.records));
            records.hflush();
            this.records++;
        }));
        threads.add(repeat("rename", 50, turn -> {
            Path from = new Path(ROOT, "folder-" + turn);
            Path to = new Path(ROOT, "renamed-" + turn);
            if (!fs.mkdirs(from) || !fs.rename(from, to) || fs.exists(from) || !fs.delete(to, true)) {
                violations.add("folder " + turn + ": an answer that is not true");
            }
        }));
        System.out.println("ready");
        while (System.in.read() >= 0) {
            // Whoever started us says when it is over by closing it.
        }
        over = true;
        for (Thread thread : threads) {
            thread.join(120_000);
            if (thread.isAlive()) {
                violations.add(thread.getName() + " hangs");
            }
        }
        records.close();
        checkRecords(log);
        for (String path : acknowledged.keySet()) {
            read(path);
        }
        long found = 0;
        for (int writer = 0; writer < WRITERS; writer++) {
            for (FileStatus status : fs.listStatus(new Path(ROOT, "writer-" + writer))) {
                found++;
                if (!acknowledged.containsKey(Path.getPathWithoutSchemeAndAuthority(status.getPath()).toString())) {
                    violations.add(status.getPath() + " was never acknowledged");
                }
            }
        }
        if (found != acknowledged.size()) {
            violations.add(acknowledged.size() + " files were acknowledged, " + found + " are there");
        }
        fs.delete(ROOT, true);
        System.out.println(report());
    }

    private String report() {
        StringBuilder text = new StringBuilder("{");
        counts.forEach((what, n) -> text.append(quoted(what + "s")).append(": ").append(n).append(", "));
        worstMs.forEach((what, n) -> text.append(quoted("worst_" + what + "_ms")).append(": ").append(n).append(", "));
        text.append("\"files\": ").append(acknowledged.size()).append(", \"records\": ").append(records);
        text.append(", \"violations\": [");
        for (int i = 0; i < violations.size(); i++) {
            text.append(i == 0 ? "" : ", ").append(quoted(violations.get(i)));
        }
        return text.append("]}").toString();
    }

    private static String quoted(String text) {
        return "\"" + text.replace("\\", "\\\\").replace("\"", "'").replaceAll("\\p{Cntrl}", " ") + "\"";
    }

    private static void pause(int ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    public static void main(String[] args) throws Exception {
        new HdfsObserver(FileSystem.get(new Configuration())).run();
        System.exit(0);
    }
}
