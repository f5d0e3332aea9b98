// A backend with a command line: a small engine that stands for yours.
//
//   g++ -std=c++17 -O2 -o runner runner.cpp
//   conformance run --command "./runner {model} {inputs} {outputs}" --operator Add --operator Relu --dtype float32
//
// It reads an ONNX file and input_0.pb, input_1.pb, ... (each a TensorProto with its name), and writes output_0.pb, ...
// in the order of the graph's outputs. Exit status 0: the outputs are there. 77: declined, with the reason as the last
// line on stderr. Any other status: an error, told the same way.
//
// No library is needed: protocol buffers are read and written by hand, which takes forty lines for what is used here.
// In your own runner, what stands below "the engine" is a call into your runtime.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

namespace {

constexpr int DECLINED = 77;
constexpr int FLOAT = 1;  // onnx.TensorProto.FLOAT

[[noreturn]] void leave(int status, const std::string& reason) {
    std::cerr << reason << std::endl;
    std::exit(status);
}

[[noreturn]] void decline(const std::string& reason) { leave(DECLINED, reason); }
[[noreturn]] void fail(const std::string& reason) { leave(1, reason); }

// ------------------------------------------------------------------------------------------ protocol buffers

struct Field {
    uint64_t number = 0;
    uint64_t value = 0;  // of a varint or a fixed number
    std::string bytes;   // of a text, bytes or a message
};

uint64_t varint(const std::string& data, size_t& at) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (at >= data.size()) fail("a message that is cut short");
        const auto byte = static_cast<unsigned char>(data[at++]);
        value |= static_cast<uint64_t>(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return value;
    }
    fail("a number of more than 64 bits");
}

std::vector<Field> fields(const std::string& data) {
    std::vector<Field> found;
    for (size_t at = 0; at < data.size();) {
        const uint64_t key = varint(data, at);
        Field field;
        field.number = key >> 3;
        const uint64_t kind = key & 7;
        if (kind == 0) {
            field.value = varint(data, at);
        } else {
            const uint64_t size = kind == 2 ? varint(data, at) : kind == 5 ? 4 : kind == 1 ? 8 : data.size() + 1;
            if (size > data.size() - at) fail("a message that is cut short, or is none");
            field.bytes = data.substr(at, size);
            at += size;
        }
        found.push_back(std::move(field));
    }
    return found;
}

std::string number(uint64_t value) {
    std::string text;
    for (; value > 0x7f; value >>= 7) text += static_cast<char>((value & 0x7f) | 0x80);
    return text + static_cast<char>(value);
}

std::string chunk(uint64_t field, const std::string& bytes) {
    return number(field << 3 | 2) + number(bytes.size()) + bytes;
}

std::string content(const std::string& path, bool& there) {
    std::ifstream file(path, std::ios::binary);
    there = file.good();
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// ---------------------------------------------------------------------------------------------- ONNX messages

struct Tensor {
    std::string name;
    std::vector<int64_t> dims;
    std::vector<float> values;
};

Tensor tensor(const std::string& data) {
    Tensor result;
    uint64_t type = 0;
    std::string raw;
    for (const Field& field : fields(data)) {
        if (field.number == 1 && field.bytes.empty()) result.dims.push_back(static_cast<int64_t>(field.value));
        if (field.number == 1)
            for (size_t at = 0; at < field.bytes.size();)
                result.dims.push_back(static_cast<int64_t>(varint(field.bytes, at)));
        if (field.number == 2) type = field.value;
        if (field.number == 4 || field.number == 9) raw += field.bytes;  // float_data, packed or not, and raw_data
        if (field.number == 8) result.name = field.bytes;
        if (field.number == 14 && field.value) decline("weights outside the model's file");
    }
    if (type != FLOAT) decline("float32 is the only type here, not number " + std::to_string(type));
    result.values.resize(raw.size() / sizeof(float));
    std::memcpy(result.values.data(), raw.data(), result.values.size() * sizeof(float));
    size_t size = 1;
    for (int64_t side : result.dims) size *= static_cast<size_t>(side);
    if (size != result.values.size()) fail(result.name + ": not as many values as its shape says");
    return result;
}

std::string written(const Tensor& tensor) {
    std::string data;
    for (int64_t side : tensor.dims) data += number(1 << 3) + number(static_cast<uint64_t>(side));
    data += number(2 << 3) + number(FLOAT) + chunk(8, tensor.name);
    return data + chunk(9, {reinterpret_cast<const char*>(tensor.values.data()), tensor.values.size() * sizeof(float)});
}

struct Node {
    std::string type, domain;
    std::vector<std::string> inputs, outputs;
    std::map<std::string, float> attributes;
};

Node node(const std::string& data) {
    Node result;
    for (const Field& field : fields(data)) {
        if (field.number == 1) result.inputs.push_back(field.bytes);
        if (field.number == 2) result.outputs.push_back(field.bytes);
        if (field.number == 4) result.type = field.bytes;
        if (field.number == 7) result.domain = field.bytes;
        if (field.number != 5) continue;
        std::string name;
        float value = 0;
        for (const Field& part : fields(field.bytes)) {
            if (part.number == 1) name = part.bytes;
            if (part.number == 2) std::memcpy(&value, part.bytes.data(), sizeof value);
        }
        result.attributes[name] = value;
    }
    return result;
}

// ------------------------------------------------------------------------------------------------- the engine

// Each step rounds once: computed in double, given back as float.
const std::map<std::string, std::function<double(double)>> UNARY = {
    {"Abs", [](double x) { return std::fabs(x); }},
    {"Exp", [](double x) { return std::exp(x); }},
    {"Neg", [](double x) { return -x; }},
    {"Relu", [](double x) { return x < 0 ? 0.0 : x; }},  // NaN stays
    {"Sqrt", [](double x) { return std::sqrt(x); }},
};
const std::map<std::string, std::function<double(double, double)>> BINARY = {
    {"Add", [](double x, double y) { return x + y; }},
    {"Div", [](double x, double y) { return x / y; }},
    {"Mul", [](double x, double y) { return x * y; }},
    {"Sub", [](double x, double y) { return x - y; }},
};

// ONNX's multidirectional broadcasting: shapes are aligned at their ends, and a side of one repeats.
Tensor broadcast(const Tensor& a, const Tensor& b, const std::function<double(double, double)>& apply) {
    Tensor result;
    const size_t rank = std::max(a.dims.size(), b.dims.size());
    const auto side = [rank](const Tensor& t, size_t axis) {
        const size_t missing = rank - t.dims.size();
        return axis < missing ? int64_t{1} : t.dims[axis - missing];
    };
    size_t size = 1;
    for (size_t axis = 0; axis < rank; ++axis) {
        const int64_t x = side(a, axis), y = side(b, axis);
        if (x != y && x != 1 && y != 1) fail("shapes that do not go together");
        result.dims.push_back(x == 1 ? y : x);
        size *= static_cast<size_t>(result.dims.back());
    }
    result.values.resize(size);
    for (size_t flat = 0; flat < size; ++flat) {
        size_t rest = flat, from_a = 0, from_b = 0, step_a = 1, step_b = 1;
        for (size_t axis = rank; axis-- > 0;) {
            const size_t index = rest % static_cast<size_t>(result.dims[axis]);
            rest /= static_cast<size_t>(result.dims[axis]);
            if (side(a, axis) != 1) from_a += index * step_a;
            if (side(b, axis) != 1) from_b += index * step_b;
            step_a *= static_cast<size_t>(side(a, axis));
            step_b *= static_cast<size_t>(side(b, axis));
        }
        result.values[flat] = static_cast<float>(apply(a.values[from_a], b.values[from_b]));
    }
    return result;
}

Tensor computed(const Node& node, const std::map<std::string, Tensor>& values) {
    std::vector<const Tensor*> inputs;
    for (const std::string& name : node.inputs) {
        const auto found = values.find(name);
        if (found == values.end()) fail("nothing gives " + name);
        inputs.push_back(&found->second);
    }
    std::map<std::string, float> attributes = node.attributes;
    Tensor result;
    if (const auto found = UNARY.find(node.type); found != UNARY.end() && inputs.size() == 1) {
        result = *inputs[0];
        for (float& value : result.values) value = static_cast<float>(found->second(value));
    } else if (const auto pair = BINARY.find(node.type); pair != BINARY.end() && inputs.size() == 2) {
        result = broadcast(*inputs[0], *inputs[1], pair->second);
    } else if (node.type == "LeakyRelu" && inputs.size() == 1) {
        const double alpha = attributes.count("alpha") ? attributes["alpha"] : 0.01f;
        attributes.erase("alpha");
        result = *inputs[0];
        for (float& value : result.values) value = value < 0 ? static_cast<float>(alpha * value) : value;
    } else {
        decline("no " + node.type + " with " + std::to_string(inputs.size()) + " inputs");
    }
    if (!attributes.empty()) decline(node.type + " has an attribute that is not known: " + attributes.begin()->first);
    if (node.outputs.size() != 1) decline(node.type + " with " + std::to_string(node.outputs.size()) + " outputs");
    result.name = node.outputs[0];
    return result;
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 4) leave(2, "runner MODEL INPUTS OUTPUTS");
    bool there = false;
    const std::string model = content(arguments[1], there);
    if (!there) fail(std::string("cannot read ") + arguments[1]);

    std::vector<Node> nodes;
    std::vector<std::string> outputs;
    std::map<std::string, Tensor> values;
    for (const Field& part : fields(model)) {
        if (part.number != 7) continue;  // the graph
        for (const Field& field : fields(part.bytes)) {
            if (field.number == 1) nodes.push_back(node(field.bytes));
            if (field.number == 12) outputs.push_back(fields(field.bytes).at(0).bytes);
            if (field.number == 5) {
                Tensor weight = tensor(field.bytes);
                values[weight.name] = std::move(weight);
            }
        }
    }
    for (const Node& one : nodes)
        if (!one.domain.empty() && one.domain != "ai.onnx") decline("no operators of " + one.domain);

    for (int position = 0;; ++position) {
        const std::string data = content(std::string(arguments[2]) + "/input_" + std::to_string(position) + ".pb", there);
        if (!there) break;
        Tensor input = tensor(data);
        values[input.name] = std::move(input);
    }
    for (const Node& one : nodes) {  // in ONNX they come in an order in which each can be computed
        Tensor result = computed(one, values);
        values[result.name] = std::move(result);
    }
    for (size_t position = 0; position < outputs.size(); ++position) {
        std::ofstream file(std::string(arguments[3]) + "/output_" + std::to_string(position) + ".pb", std::ios::binary);
        file << written(values.at(outputs[position]));
        if (!file.flush()) fail("cannot write to " + std::string(arguments[3]));
    }
    return 0;
}
