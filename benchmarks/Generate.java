import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.metadata.placement.UsableBroker;
import org.apache.kafka.tools.reassign.ReassignPartitionsCommand;

/** What kafka-reassign-partitions --generate calculates, from a file in place of a cluster: "topic number b,b,b" lines. */
class Generate {
    public static void main(String[] files) throws Exception {
        Map<TopicPartition, List<Integer>> current = new HashMap<>();
        for (String line : Files.readAllLines(Path.of(files[0]))) {
            String[] words = line.split(" ");
            List<Integer> replicas = new ArrayList<>();
            for (String broker : words[2].split(",")) replicas.add(Integer.valueOf(broker));
            current.put(new TopicPartition(words[0], Integer.parseInt(words[1])), replicas);
        }
        List<UsableBroker> brokers = new ArrayList<>();
        for (String line : Files.readAllLines(Path.of(files[1]))) {
            String[] words = line.split(" ");
            Optional<String> rack = words.length > 1 ? Optional.of(words[1]) : Optional.empty();
            brokers.add(new UsableBroker(Integer.parseInt(words[0]), rack, false));
        }
        Method calculate = ReassignPartitionsCommand.class.getDeclaredMethod("calculateAssignment", Map.class, List.class);
        calculate.setAccessible(true);
        @SuppressWarnings("unchecked")
        var proposed = (Map<TopicPartition, List<Integer>>) calculate.invoke(null, current, brokers);
        List<String> out = new ArrayList<>();
        proposed.forEach((p, replicas) -> {
            String joined = String.join(",", replicas.stream().map(String::valueOf).toList());
            out.add(p.topic() + " " + p.partition() + " " + joined);
        });
        Files.write(Path.of(files[2]), out);
    }
}
