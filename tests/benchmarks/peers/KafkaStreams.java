/* W1 on Kafka Streams, one thread: `java KafkaStreams.java BOOTSTRAP TOPIC GROUP FOLDER GUARANTEE END,END,…`.
   RocksDB and a changelog. The ends are the last offsets of the partitions: at least once commits every 30 s by
   default, so it is asked to commit where the events end, lest the wait for that be counted. */

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;

public class KafkaStreams {
    public static class PageView {
        public String user;
        public String page;
        public double amount;
        public double ts;
    }

    static class CommitAtEnd extends ContextualFixedKeyProcessor<String, PageView, PageView> {
        private final long[] ends;

        CommitAtEnd(long[] ends) {
            this.ends = ends;
        }

        @Override
        public void process(FixedKeyRecord<String, PageView> record) {
            context().forward(record);
            var at = context().recordMetadata().get();
            if (at.offset() == 0 || at.offset() == ends[at.partition()]) {
                context().commit();
            }
        }
    }

    static PageView decode(ObjectMapper mapper, byte[] json) {
        try {
            return mapper.readValue(json, PageView.class);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    public static void main(String[] given) {
        var settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, given[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, given[2]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, given[3]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, given[4]);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 100 << 20);
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.consumerPrefix("isolation.level"), "read_committed");

        var ends = Arrays.stream(given[5].split(",")).mapToLong(Long::parseLong).toArray();
        var mapper = new ObjectMapper();
        Serde<PageView> views = Serdes.serdeFrom((topic, view) -> null, (topic, json) -> decode(mapper, json));
        var consumed = Consumed.with(Serdes.String(), views)
            .withTimestampExtractor((record, before) -> (long) (((PageView) record.value()).ts * 1000));

        var builder = new StreamsBuilder();
        builder.stream(given[1], consumed)
            .processValues(() -> new CommitAtEnd(ends))
            .groupByKey(Grouped.with(Serdes.String(), views))
            .windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofSeconds(10)))
            .aggregate(() -> 0.0, (user, view, total) -> total + view.amount,
                Materialized.<String, Double, org.apache.kafka.streams.state.WindowStore<
                    org.apache.kafka.common.utils.Bytes, byte[]>>as("totals")
                    .withKeySerde(Serdes.String()).withValueSerde(Serdes.Double()));

        var streams = new org.apache.kafka.streams.KafkaStreams(builder.build(), settings);
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }
}
